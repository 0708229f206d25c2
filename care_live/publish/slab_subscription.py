"""Slabs beside a subscriber's link: planes of volumes that are still being restored, at most once."""

from __future__ import annotations

from care_live.errors import ProtocolError
from care_live.publish.broadcast import BroadcastChannel
from care_live.publish.delivery import Delivery, of_planes
from care_live.wire import cl1
from care_live.wire.address import at_port, is_loopback
from care_live.wire.messages import Heartbeat, Slab
from care_live.wire.sockets import Socket, Sockets

HWM = 4
"""Slabs that wait here before newer ones are dropped."""


class SlabSubscription:
    """Receives the slabs of a daemon's broadcast, whose port is in its heartbeats; used by one thread.

    Parameters
    ----------
    sockets
        Of the subscriber: its poll wakes for slabs too.
    address
        The daemon's ``bind_pull``. Slabs of another machine come quantised.
    """

    def __init__(self, sockets: Sockets, address: str) -> None:
        self._sockets, self._address = sockets, address
        self._topic = BroadcastChannel("slab", level=0, quantised=not is_loopback(address)).prefix
        self._port: int | None = None
        self._link: Socket | None = None

    def follow(self, heartbeat: Heartbeat) -> None:
        """Connect to the daemon's broadcast; a new daemon may have another port."""
        if heartbeat.broadcast_port == self._port:
            return
        self.leave()
        self._port = heartbeat.broadcast_port
        if self._port is not None:
            address = at_port(self._address, self._port)
            self._link = self._sockets.connect("sub", address, hwm=HWM)
            self._link.subscribe(self._topic)

    def leave(self) -> None:
        """Disconnect, until the next heartbeat."""
        if self._link is not None:
            self._sockets.drop(self._link)
        self._link = self._port = None

    def next(self) -> Delivery | None:
        """Return the next slab that is there; one that breaks the protocol is dropped, as if it had not come."""
        while self._link is not None and (received := self._link.receive()) is not None:
            try:
                message, codes = cl1.decode(received.parts[1:])
            except ProtocolError:
                continue
            if isinstance(message, Slab):
                return of_planes(message, codes)
        return None
