"""Messages between a daemon and a worker on another machine."""

from __future__ import annotations

from care_live.images import VolumeKey
from care_live.worker import protocol
from care_live.worker import remote_protocol as link


def test_messages_survive_the_codec() -> None:
    for message in (link.WorkerFree("here"), link.Beat(3, 1.5, ((VolumeKey(1, 0), 4, 2),)), link.Gone(1, "died")):
        assert link.from_worker.decode(link.from_worker.encode(message)) == message
    for message in (link.Ping(), link.Leave(2), link.Order(1, protocol.WarmUp((1, 2, 3)))):
        assert link.to_worker.decode(link.to_worker.encode(message)) == message
