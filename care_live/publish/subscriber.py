"""The other end: a subscriber that requests the newest, or every volume, and connects again by itself.

::

    for volume in care_live.subscribe("tcp://127.0.0.1:5792"):
        print(volume.key, volume.mean.shape, volume.age_s)
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypedDict, Unpack

from numpy.typing import NDArray

from care_live.default_ports import WATCHERS
from care_live.errors import ConfigError, ProtocolError
from care_live.images import VolumeKey
from care_live.publish.clock import Clock
from care_live.publish.cursor import Every, Following, NewestOnly, PassedOver
from care_live.publish.delivery import Delivery, FromDaemon, of_volume
from care_live.publish.slab_subscription import SlabSubscription
from care_live.publish.watcher_link import WatcherLink
from care_live.wire import cl1
from care_live.wire.keys import ClientKeys
from care_live.wire.messages import (
    EVERYTHING,
    End,
    Fetch,
    Gap,
    Heartbeat,
    Hello,
    Message,
    Numbered,
    Refused,
    Slab,
    Start,
    View,
    VolumeMessage,
    WatcherRequest,
)
from care_live.wire.sockets import Received, Sockets

ASK_AGAIN_S, LEAVE_S = 1.5, 0.2
"""Silence after which a request is sent again (daemons send every second); time for the last one to leave."""
AWAY_S = 4.0
"""Heartbeats come every second; after this silence the link counts as lost."""
LAST_S = 1.0
"""How long a last volume may follow the end of a run."""

SubscriberMode = Literal["newest", "every"]


class SubscriberOptions(TypedDict, total=False):
    """Of `Subscriber`."""

    mode: SubscriberMode
    view: View | None
    keys: ClientKeys | None
    position: int | None
    channel: int | None
    credit: int | None
    slabs: bool


class Subscriber:
    """One watcher's link to a daemon. Use it from one thread at a time.

    Parameters
    ----------
    address
        The daemon's ``bind_pull``, tcp://HOST:PORT.
    mode
        *newest*: always the newest volume of each channel and position, at your own pace; skipped ones are
        counted. *every*: all messages in order, also after a lost link, or a gap with its reason (needs the role
        recorder).
    view
        Products, quantised or not, codec, level and region; none: everything, as it is.
    keys
        For a daemon on another machine.
    position, channel
        Only these (newest).
    credit
        How many may be in flight at once.
    slabs
        Give planes of volumes that are still being restored too, as they come (`Delivery`), at most once.

    Raises
    ------
    ConfigError
        The address is invalid.
    """

    def __init__(
        self,
        address: str = WATCHERS,
        *,
        mode: SubscriberMode = "newest",
        view: View | None = None,
        keys: ClientKeys | None = None,
        position: int | None = None,
        channel: int | None = None,
        credit: int | None = None,
        slabs: bool = False,
    ) -> None:
        self.address = address
        self._view = view or EVERYTHING
        self._in_order, newest = mode == "every", NewestOnly(self._view, credit or 1, position, channel)
        self._following: Following = Every(self._view, credit or 4) if self._in_order else newest
        self._sockets = Sockets(client=keys)
        try:
            self._link = WatcherLink(self._sockets, address)
            self._slabs = SlabSubscription(self._sockets, address) if slabs else None
        except ConfigError:
            self._sockets.close()
            raise
        self._session: str | None = None
        self._passed = PassedOver()
        self._spent, self._requested_s, self._received_s = 0, float("-inf"), float("-inf")
        self._fetching: set[tuple[int, ...]] = set()
        self._woken, self._clock = threading.Event(), Clock()
        self.run: Start | None = None
        """The run that is on, once its start has come."""
        self.heartbeat: Heartbeat | None = None
        """The newest status of the daemon."""
        self.n_received = 0
        """Volumes that came."""
        self.n_skipped = 0
        """Volumes that this watcher skipped because it was busy."""

    @property
    def n_lost(self) -> int:
        """Numbers that were requested and answered with a gap: they will not come."""
        return self._following.n_lost

    @property
    def n_damaged(self) -> int:
        """Messages that broke the protocol; after each the link was made anew."""
        return self._link.n_damaged

    @property
    def silent_s(self) -> float:
        """Seconds since anything came; infinite before."""
        return time.monotonic() - self._received_s

    def next(self, timeout_s: float | None = None) -> FromDaemon | None:
        """Wait for the next message; None when the time is over or `wake` was called.

        Raises
        ------
        ProtocolError
            The daemon refused the request; the message has the reason.
        """
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while (message := self._take()) is None:
            self._request_more()
            left = deadline - time.monotonic()
            if left <= 0 or self._woken.is_set():
                self._woken.clear()
                return None
            self._sockets.poll(min(left, ASK_AGAIN_S, self._link.wait_s))
        return message

    def fetch(self, key: VolumeKey, view: View | None = None) -> None:
        """Request one volume by its key, from memory or from the store; `next` returns it, or a gap."""
        self._fetching.add(tuple(key))
        self._send(Fetch(key=(key.t, key.p, key.c), view=view or self._view))

    def volumes(self, timeout_s: float | None = None) -> Iterator[Delivery]:
        """Give volumes until the run ends, or until none comes for `timeout_s`.

        Of the newest, those that were restored: a raw channel that a network only read comes by `next`.
        """
        raw_too, ended = self._in_order or "mean" not in self._view.products, False
        while True:
            message = self.next(LAST_S if ended else timeout_s)
            ended = ended or isinstance(message, End)
            if message is None or (ended and self._in_order):
                return
            if isinstance(message, Delivery) and message.is_whole and (raw_too or message.model is not None):
                yield message

    def __iter__(self) -> Iterator[Delivery]:
        return self.volumes()

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        """Give volumes as `volumes` does, without holding up the event loop."""
        waiting, thread = self.volumes(), ThreadPoolExecutor(1, thread_name_prefix="subscriber")
        loop = asyncio.get_running_loop()
        try:
            while (volume := await loop.run_in_executor(thread, lambda: next(waiting, None))) is not None:
                yield volume
        finally:
            self.wake()
            thread.shutdown()
            self._woken.clear()

    def wake(self) -> None:
        """Make `next` come back; from any thread."""
        self._woken.set()
        self._sockets.wake()

    def close(self) -> None:
        """Disconnect; acknowledge what came, so that a daemon that ends does not wait for this watcher."""
        if self._in_order and (request := self._following.request(self._session)) is not None:
            self._send(request)
        self._sockets.close(linger_s=LEAVE_S)

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _send(self, request: WatcherRequest) -> None:
        self._link.send(cl1.encode_request(request))

    def _request_more(self) -> None:
        """Request more when the last answers came, or again after silence, or before the daemon drops this watcher."""
        now_s = time.monotonic()
        overdue = now_s - self._requested_s >= ASK_AGAIN_S
        if overdue and self.silent_s >= ASK_AGAIN_S:
            self._send(Hello(name="care_live"))
            self._requested_s = now_s
        request = self._following.request(self._session)
        if request is not None and (overdue or self._link.is_new or self._spent >= self._following.ask_after):
            self._send(request)
            self._requested_s, self._spent, self._link.is_new = now_s, 0, False

    def _take(self) -> FromDaemon | None:
        while (received := self._link.receive()) is not None:
            if (message := self._decode(received)) is not None:
                return message
        return self._slabs.next() if self._slabs else None

    def _decode(self, received: Received) -> FromDaemon | None:
        try:
            message, codes = cl1.decode(received.parts)
        except cl1.UnknownTypeError:
            return None
        except ProtocolError as error:
            self._link.break_off(error)
            if self._session is None:
                raise
            return None
        self._note(message)
        if isinstance(message, Refused):
            raise ProtocolError(f"{self.address} refused ({message.reason}): {message.detail}")
        fetched = self._was_fetched(message)
        if isinstance(message, Slab) or not (self._following.is_news(message) or fetched):
            return None
        return self._see(message, codes) if isinstance(message, VolumeMessage) else message

    def _note(self, message: Message) -> None:
        self._received_s = time.monotonic()
        if message.session != self._session:
            self._link.is_new = self._link.is_new or self._session is not None
            self._session = message.session
            self._passed = PassedOver()
        if isinstance(message, Start):
            self.run = message
        elif isinstance(message, Numbered):
            self._link.get_on()
        if isinstance(message, Heartbeat):
            self.heartbeat = message
            self._clock.note(message.now_us, message.session)
            if self._slabs is not None:
                self._slabs.follow(message)
        self._spent += isinstance(message, self._following.costs)

    def _was_fetched(self, message: Message) -> bool:
        if isinstance(message, VolumeMessage | Gap) and message.key in self._fetching:
            self._fetching.discard(message.key)
            return True
        return False

    def _see(self, message: VolumeMessage, codes: tuple[NDArray[Any], ...]) -> Delivery:
        n_skipped = 0 if self._in_order else self._passed.before(message)
        self.n_received += 1
        self.n_skipped += n_skipped
        return of_volume(message, codes, self._clock.age_s(message), n_skipped)


def subscribe(address: str = WATCHERS, **options: Unpack[SubscriberOptions]) -> Subscriber:
    """Watch a daemon: iterate over what this returns, with ``for`` or ``async for``.

    Parameters
    ----------
    address
        The daemon's ``bind_pull``, tcp://HOST:PORT.
    options
        As for `Subscriber`: mode ("newest" or "every"), view, keys, position, channel, credit, slabs.
    """
    return Subscriber(address, **options)
