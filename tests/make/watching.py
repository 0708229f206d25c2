"""What a watcher waits for."""

from __future__ import annotations

import time

from care_live.publish.subscriber import FromDaemon, Subscriber
from care_live.wire import cl1
from care_live.wire.messages import Message
from care_live.wire.sockets import Socket, Sockets


def until(subscriber: Subscriber, kind: type[FromDaemon], timeout_s: float = 60.0) -> FromDaemon:
    """Return the next message of a kind."""
    deadline = time.monotonic() + timeout_s
    while (left := deadline - time.monotonic()) > 0:
        if isinstance(came := subscriber.next(left), kind):
            return came
    raise AssertionError(f"no {kind.__name__} within {timeout_s} s")


def answer(hub: Sockets, link: Socket, *kinds: type[Message], timeout_s: float = 60.0) -> Message | None:
    """Return the next message of some kinds that comes to a bare link; None: none came."""
    for _ in range(int(timeout_s / 0.05)):
        hub.poll(0.05)
        while (received := link.receive()) is not None:
            message, _ = cl1.decode(received.parts)
            if isinstance(message, kinds):
                return message
    return None
