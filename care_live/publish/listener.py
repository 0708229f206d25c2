"""A listener to the broadcast: volumes and slabs as they are published, at most once.

::

    with Listener("tcp://127.0.0.1:5791", ("slab", "restored")) as listener:
        while (received := listener.next()) is not None:
            print(received)

Good for a fast reader on the same machine that wants planes while a volume is still being restored. A reader that
may fall behind takes a `Subscriber`, which always gets the newest.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from care_live.config import PublishConfig
from care_live.errors import ConfigError, ProtocolError
from care_live.publish.broadcast import NOTE, BroadcastChannel, Topic
from care_live.publish.clock import Clock
from care_live.publish.delivery import FromDaemon, of_planes, of_volume
from care_live.wire import cl1
from care_live.wire.keys import ClientKeys
from care_live.wire.messages import Gap, Heartbeat, Refused, Slab, VolumeMessage
from care_live.wire.sockets import Received, Sockets

DEFAULT_BROADCAST: str = PublishConfig.model_fields["bind"].default
HWM = 4
"""Messages that wait here before newer ones pass by."""


class Listener:
    """One subscription. Use it from one thread at a time.

    Parameters
    ----------
    address
        The daemon's ``bind``, tcp://HOST:PORT.
    products
        *restored* (mean, scale, disagreement), *raw*, *slab*, any other map by its name: each comes in messages of its
        own.
    level
        Rows and columns are shrunk by 2^level, 0-4.
    quantised
        A quarter of the bytes, and a step of 1/65535 of the range (2.6 % for scale and disagreement).
    keys
        For a daemon on another machine.

    Raises
    ------
    ConfigError
        The address is invalid.
    """

    def __init__(
        self,
        address: str = DEFAULT_BROADCAST,
        products: Sequence[Topic] = ("restored",),
        *,
        level: int = 0,
        quantised: bool = False,
        keys: ClientKeys | None = None,
    ) -> None:
        self._sockets = Sockets(client=keys)
        try:
            self._link = self._sockets.connect("sub", address, hwm=HWM)
        except ConfigError:
            self._sockets.close()
            raise
        for product in products:
            self._link.subscribe(BroadcastChannel(product, level, quantised).prefix)
        self._link.subscribe(NOTE)
        self._clock = Clock()
        self.n_damaged = 0
        """Messages that broke the protocol; they were dropped."""

    def next(self, timeout_s: float | None = None) -> FromDaemon | None:
        """Wait for the next message; None when the time is over.

        Raises
        ------
        ProtocolError
            The daemon has another protocol.
        """
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            while (received := self._link.receive()) is not None:
                if (message := self._decode(received)) is not None:
                    return message
            self._sockets.poll(min(left, 1.0))
        return None

    def close(self) -> None:
        self._sockets.close()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _decode(self, received: Received) -> FromDaemon | None:
        try:
            message, codes = cl1.decode(received.parts[1:])
        except ProtocolError:
            self.n_damaged += 1
            return None
        match message:
            case VolumeMessage():
                return of_volume(message, codes, self._clock.age_s(message), n_skipped=0)
            case Slab():
                return of_planes(message, codes)
            case Gap() | Refused():
                return None
            case Heartbeat():
                self._clock.note(message.now_us, message.session)
        return message
