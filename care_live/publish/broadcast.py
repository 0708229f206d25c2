"""PUB: what is published to all at once, at most once, and only what somebody has subscribed to.

A topic is ``cl1/PRODUCT/Llevel/CODING/RUN``: PRODUCT is *restored* (mean, scale, disagreement), *raw* or *slab*, CODING
*plain* or *quantised*. Notes and heartbeats have the topic ``cl1/note``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from care_live.errors import ConfigError
from care_live.images import Restored, Volume
from care_live.publish.log import Entry
from care_live.publish.slabs import RestoredSlab
from care_live.publish.writer import Parts, Writer
from care_live.wire.messages import View
from care_live.wire.sockets import Socket, Sockets

Topic = Literal["restored", "raw", "slab"]

NOTE = b"cl1/note"
LEVELS = range(5)
HWM = 2
"""Messages that wait for one slow subscriber before newer ones pass it by."""
MAX_TOPICS, MAX_TOPIC_BYTES = 4096, 256
_PRODUCTS: dict[Topic, tuple[Literal["raw", "mean", "laplace_scale", "disagreement"], ...]] = {
    "restored": ("mean", "laplace_scale", "disagreement"),
    "raw": ("raw",),
    "slab": ("mean", "laplace_scale", "disagreement"),
}


@dataclass(frozen=True, slots=True)
class Channel:
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


CHANNELS = tuple(
    Channel(product, level, quantised) for product in _PRODUCTS for level in LEVELS for quantised in (False, True)
)


class Broadcast:
    """The XPUB socket and what is subscribed on it; used by one thread.

    Raises
    ------
    ConfigError
        The address is none, is taken, or needs keys.
    """

    def __init__(self, sockets: Sockets, address: str, writer: Writer, *, raw: bool) -> None:
        self._sockets, self._writer, self._raw = sockets, writer, raw
        self._subscribed: set[bytes] = set()
        self._socket: Socket | None = self._bind(address)
        self.address = self._socket.address

    def hear(self) -> None:
        """Take subscriptions and their ends; anything else that a subscriber says is ignored."""
        while self._socket is not None and (received := self._socket.receive()) is not None:
            said = bytes(received.parts[0][:MAX_TOPIC_BYTES])
            if said[:1] == b"\x01" and len(self._subscribed) < MAX_TOPICS:
                self._subscribed.add(said[1:])
            elif said[:1] == b"\x00":
                self._subscribed.discard(said[1:])

    def hang_up(self) -> None:
        """Cut everybody: who is still allowed comes back by himself, who was revoked does not get in."""
        if self._socket is not None:
            self._sockets.drop(self._socket)
        self._socket = None
        self._subscribed.clear()

    def open_again(self) -> None:
        """Bind again after `hang_up`; the system may need a moment to free the port, so call it again."""
        if self._socket is None:
            with contextlib.suppress(ConfigError):
                self._socket = self._bind(self.address)

    def _bind(self, address: str) -> Socket:
        return self._sockets.bind("xpub", address, hwm=HWM)

    def wanted(self, product: Topic) -> Iterator[Channel]:
        """Give the channels of a product that somebody listens to; a short topic means level 0, plain."""
        for channel in CHANNELS:
            if channel.product == product and any(self._asks_for(topic, channel) for topic in self._subscribed):
                yield channel

    def volume(self, entry: Entry, record: Restored | Volume, run: str) -> None:
        for product in ("restored", "raw") if self._raw else ("restored",):
            if product == "restored" and isinstance(record, Volume):
                continue
            for channel in self.wanted("raw" if product == "raw" else "restored"):
                self._send(channel, self._writer.volume(entry, record, channel.view), run)

    def slab(self, slab: RestoredSlab, run: str) -> None:
        for channel in self.wanted("slab"):
            self._send(channel, self._writer.slab(slab, channel.view), run)

    def note(self, parts: Parts) -> None:
        self._put([NOTE, *parts])

    def _send(self, channel: Channel, parts: Parts, run: str) -> None:
        self._put([channel.prefix + run.encode(), *parts])

    def _put(self, parts: Parts) -> None:
        if self._socket is not None:
            self._socket.send(parts)

    @staticmethod
    def _asks_for(topic: bytes, channel: Channel) -> bool:
        if topic.startswith(channel.prefix):
            return True
        return channel.level == 0 and not channel.quantised and channel.prefix.startswith(topic)
