"""PUB: what is published to all at once, at most once, and only if a client has subscribed to it.

A topic is ``cl1/PRODUCT/Llevel/CODING/RUN``: PRODUCT is *restored* (mean, scale, disagreement), *raw*, *slab* or
another map by its name, CODING *plain* or *quantised*. Notes and heartbeats have the topic ``cl1/note``. A thread of
its own encodes in the order of arrival; where it has no time for all, newer volumes replace those that wait longest.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from care_live.errors import CareLiveError, ConfigError
from care_live.images import Restored, RunStarted, Volume
from care_live.maps import Head
from care_live.publish import describe
from care_live.publish.encoder import Encoded, Encoder, Parts, Run
from care_live.publish.log import Entry
from care_live.publish.message_writer import MessageWriter
from care_live.publish.worker_thread import WorkerThread
from care_live.wire.arrays import Product
from care_live.wire.connections import ConnectionId
from care_live.wire.messages import FIRST_PRODUCTS, LATER_HEADS, View
from care_live.wire.sockets import Received, Socket, Sockets

logger = logging.getLogger(__name__)

Topic = Literal["restored", "raw", "slab"] | Head

NOTE = b"cl1/note"
LEVELS = range(5)
HELD_BYTES = 32 * 1024**2
MIN_HWM, MAX_HWM = 2, 64
"""Messages that wait for one slow subscriber before newer ones pass it by: as many as `HELD_BYTES` has volumes."""
MAX_SLABS = 16
"""Slabs of one topic that wait to be encoded."""
MAX_TOPIC_BYTES = 256
MAX_TOPICS = 64
"""Topics of one connection; one that subscribes to more is cut off."""
_FIRST: dict[Topic, tuple[Product, ...]] = {"restored": FIRST_PRODUCTS[1:], "raw": ("raw",), "slab": FIRST_PRODUCTS[1:]}
_PRODUCTS: dict[Topic, tuple[Product, ...]] = {**_FIRST, **{head: (head,) for head in LATER_HEADS}}


@dataclass(frozen=True, slots=True)
class BroadcastChannel:
    """One of the things that can be subscribed to."""

    product: Topic
    level: int
    quantised: bool

    @property
    def prefix(self) -> bytes:
        return f"cl1/{self.product}/L{self.level}/{'quantised' if self.quantised else 'plain'}/".encode()

    @property
    def view(self) -> View:
        return View(products=_PRODUCTS[self.product], quantised=self.quantised, level=self.level)

    def is_asked_for(self, topic: bytes) -> bool:
        """Return whether a subscription includes it; a short topic means level 0, plain, of the first products."""
        if topic.startswith(self.prefix):
            return True
        if self.product not in _FIRST and not topic.startswith(b"cl1/" + self.product.encode()):
            return False  # an older subscriber would not know it
        return self.level == 0 and not self.quantised and self.prefix.startswith(topic)


CHANNELS = tuple(
    BroadcastChannel(product, level, quantised)
    for quantised in (False, True)
    for level in LEVELS
    for product in _PRODUCTS
)
"""Those that cost least come first."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One message that is broadcast."""

    topic: bytes
    count: int
    channel: BroadcastChannel | None
    """None: a note."""
    make: Callable[[], Encoded | None]
    entry: Entry | None = None
    """Of a note."""


class Broadcast:
    """The XPUB socket and what is subscribed on it; used by one thread, given slabs by another, owner of a third one.

    Raises
    ------
    ConfigError
        The address is invalid, is taken, or needs keys.
    """

    def __init__(
        self,
        sockets: Sockets,
        address: str,
        writer: MessageWriter,
        *,
        encoder: Encoder,
        run: Run,
        announce: Callable[[], None],
        raw: bool,
    ) -> None:
        self._sockets, self._writer, self._encoder, self._run, self._raw = sockets, writer, encoder, run, raw
        self._subscribed: Counter[BroadcastChannel] = Counter()
        self._topics: Counter[ConnectionId] = Counter()
        self._hwm = MAX_HWM
        self._socket: Socket | None = self._bind(address)
        self.address = self._socket.address
        self._closed = False
        self._guard = threading.Lock()
        """Held while messages are counted: slabs come in another thread."""
        self._counts: Counter[str] = Counter()
        self._not_made: dict[BroadcastChannel, list[int]] = defaultdict(list)
        """Counts of messages that were left out for lack of time since the last one that was sent."""
        self._n_not_made: Counter[BroadcastChannel] = Counter()
        self._worker: WorkerThread[Item, Encoded | None] = WorkerThread("publish-broadcast", _make, announce)

    @property
    def is_idle(self) -> bool:
        """Whether all that was published has been broadcast."""
        return self._worker.is_idle

    @property
    def subscribed(self) -> frozenset[BroadcastChannel]:
        """The channels with a subscriber."""
        return frozenset(channel for channel, n in self._subscribed.items() if n > 0)

    def close(self) -> None:
        """Take no more slabs, and end the thread after the message that it is making."""
        self._closed = True
        self._worker.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the thread; False when it does not end in time."""
        return self._worker.join(timeout_s)

    # -- subscriptions ----------------------------------------------------------------------------------------------

    def receive(self, at_most: int) -> int:
        """Take subscriptions and their ends, and return how many; other messages of a subscriber are ignored."""
        taken = 0
        while taken < at_most and self._socket is not None and (received := self._socket.receive()) is not None:
            self._take_subscription(received)
            taken += 1
        return taken

    def _take_subscription(self, received: Received) -> None:
        topic = bytes(received.parts[0][: MAX_TOPIC_BYTES + 1])
        change = {b"\x01": 1, b"\x00": -1}.get(topic[:1], 0)
        for channel in CHANNELS:
            if change and channel.is_asked_for(topic[1:]):
                self._subscribed[channel] = max(0, self._subscribed[channel] + change)
        if change > 0 and received.connection is not None:
            self._bound_topics(received.connection)

    def _bound_topics(self, connection: ConnectionId) -> None:
        """Disconnect a client that subscribes to ever more: each of its topics takes memory here."""
        self._topics[connection] += 1
        if self._topics[connection] > MAX_TOPICS and self._socket is not None:
            self._socket.cut(connection)
            del self._topics[connection]
        while len(self._topics) > 1024:
            del self._topics[next(iter(self._topics))]

    def hang_up(self) -> None:
        """Disconnect all: clients that are still allowed connect again by themselves, revoked ones are refused."""
        if self._socket is not None:
            self._sockets.drop(self._socket)
        self._socket = None
        self._subscribed.clear()
        self._topics.clear()

    def open_again(self) -> None:
        """Bind again after `hang_up`; the system may need a moment to free the port, so call it again."""
        if self._socket is None:
            with contextlib.suppress(ConfigError):
                self._socket = self._bind(self.address)

    def _bind(self, address: str) -> Socket:
        return self._sockets.bind("xpub", address, hwm=self._hwm, max_message_bytes=2 * MAX_TOPIC_BYTES)

    # -- what is published --------------------------------------------------------------------------------------------

    def wanted(self, *products: Topic) -> Iterator[BroadcastChannel]:
        """Yield the channels of some products that have a subscriber."""
        return (channel for channel in CHANNELS if channel.product in products and self._subscribed[channel] > 0)

    def volume(self, entry: Entry, record: Restored | Volume) -> None:
        """Have a volume encoded for each topic that is subscribed to."""
        products: list[Topic] = []
        if isinstance(record, Restored):
            products += ["restored", *(head for head in LATER_HEADS if head in record.maps)]
        products += ["raw"] if self._raw else []
        counts = {product: self._next(product) for product in products}
        for channel in self.wanted(*products):
            make = partial(self._encoder.volume, entry, record, channel.view)
            self._put(channel, counts[channel.product], make, keep=self._hwm)

    def slab(self, slab: Restored) -> None:
        """Have planes of a volume that is being restored encoded for each topic that is subscribed to; never waits.

        From one thread at a time, which may be another than that of all else here.
        """
        if self._closed:
            return
        count = self._next("slab")
        for channel in self.wanted("slab"):
            self._put(channel, count, partial(self._encode_slab, slab, channel.view), keep=MAX_SLABS)

    def _encode_slab(self, slab: Restored, view: View) -> Encoded:
        return Encoded(*describe.slab_message(slab, view, **self._run.fields, published_us=self._run.clock.now_us()))

    def note(self, entry: Entry) -> None:
        """Broadcast a note behind the volumes that came before it."""
        if isinstance(entry.record, RunStarted):
            self._fit(entry.record)
        self._worker.put("all", Item(NOTE, 0, None, lambda: None, entry))

    def beat(self, make: Callable[[int], Parts]) -> None:
        """Broadcast a heartbeat, at once; `make` is given its count."""
        self._send([NOTE, *make(self._next("note"))])

    def serve(self) -> None:
        """Send what was encoded since the last time."""
        for item, encoded in self._worker.take():
            if item.entry is not None:
                self._send_note(item.entry)
            elif encoded is None and item.channel is not None:
                self._note_not_made(item.channel, item.count)
            elif encoded is not None and item.channel is not None:
                parts = encoded.parts(count=item.count, not_made=self._count_not_made(item.channel, item.count))
                self._send([item.topic, *parts])

    def _put(self, channel: BroadcastChannel, count: int, make: Callable[[], Encoded], *, keep: int) -> None:
        item = Item(channel.prefix + (self._run.run or "").encode(), count, channel, make)
        with self._guard:  # what is sent meanwhile says how many gave way before it
            gone = self._worker.put("all", item, slot=channel, keep=keep)
            if gone is not None and gone.channel is not None:
                self._not_made[gone.channel].append(gone.count)

    def _note_not_made(self, channel: BroadcastChannel, count: int) -> None:
        with self._guard:
            self._not_made[channel].append(count)

    def _count_not_made(self, channel: BroadcastChannel, count: int) -> int:
        """Return how many messages were left out before this one, since the beginning."""
        with self._guard:
            waiting = self._not_made.pop(channel, [])
            self._n_not_made[channel] += sum(left_out < count for left_out in waiting)
            self._not_made[channel] = [left_out for left_out in waiting if left_out > count]
            return self._n_not_made[channel]

    def _send_note(self, entry: Entry) -> None:
        count = self._next("note")
        try:
            parts = self._writer.note(entry, count=count)
        except CareLiveError as error:
            logger.warning("note not broadcast seq=%d error=%s", entry.seq, error)
            return
        self._send([NOTE, *parts])

    def _next(self, product: str) -> int:
        with self._guard:
            self._counts[product] += 1
            return self._counts[product] - 1

    def _send(self, parts: Parts) -> None:
        if self._socket is not None:
            self._socket.send(parts)

    def _fit(self, started: RunStarted) -> None:
        """Let fewer messages wait for a subscriber where volumes are large.

        The socket is bound again for it: libzmq (4.3.5) gives a connection the limit of the time of binding, and
        crashes when the limit is changed while connections end.
        """
        planes = max((len(planes) for planes in started.plan.stacks.values()), default=1)
        nbytes = max(1, planes * started.plan.shape_px[0] * started.plan.shape_px[1] * 12)
        hwm = min(MAX_HWM, max(MIN_HWM, HELD_BYTES // nbytes))
        if hwm != self._hwm:
            self._hwm = hwm
            self.hang_up()
            self.open_again()


def _make(item: Item) -> Encoded | None:
    try:
        return item.make()
    except Exception as error:  # noqa: BLE001 - the thread boundary: subscribers get one less, and its count
        logger.warning("not broadcast topic=%s error=%s", item.topic, error)
        return None
