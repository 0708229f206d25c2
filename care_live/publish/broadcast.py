"""PUB: what is published to all at once, at most once, and only what somebody has subscribed to.

A topic is ``cl1/PRODUCT/Llevel/CODING/RUN``: PRODUCT is *restored* (mean, scale, disagreement), *raw* or *slab*, CODING
*plain* or *quantised*. Notes and heartbeats have the topic ``cl1/note``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from care_live.images import Restored, Volume
from care_live.publish.log import Entry
from care_live.publish.slabs import RestoredSlab
from care_live.publish.writer import Parts, Writer
from care_live.wire.messages import View
from care_live.wire.sockets import Socket

Topic = Literal["restored", "raw", "slab"]

NOTE = b"cl1/note"
LEVELS = range(5)
_PRODUCTS: dict[Topic, tuple[Literal["raw", "mean", "laplace_scale", "disagreement"], ...]] = {
    "restored": ("mean", "laplace_scale", "disagreement"),
    "raw": ("raw",),
    "slab": ("mean", "laplace_scale"),
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
    """The XPUB socket and what is subscribed on it; used by one thread."""

    def __init__(self, socket: Socket, writer: Writer, *, raw: bool) -> None:
        self._socket, self._writer, self._raw = socket, writer, raw
        self._subscribed: set[bytes] = set()

    def hear(self) -> None:
        """Take subscriptions and their ends; anything else that a subscriber says is ignored."""
        while (received := self._socket.receive()) is not None:
            said = bytes(received.parts[0][:256])
            if said[:1] == b"\x01":
                self._subscribed.add(said[1:])
            elif said[:1] == b"\x00":
                self._subscribed.discard(said[1:])

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
        self._socket.send([NOTE, *parts])

    def _send(self, channel: Channel, parts: Parts, run: str) -> None:
        self._socket.send([channel.prefix + run.encode(), *parts])

    @staticmethod
    def _asks_for(topic: bytes, channel: Channel) -> bool:
        if topic.startswith(channel.prefix):
            return True
        return channel.level == 0 and not channel.quantised and channel.prefix.startswith(topic)
