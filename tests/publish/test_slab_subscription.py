"""Slabs beside a subscriber's link: from the port that heartbeats name, whole records, and nothing that is no slab."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import pytest

from care_live.images import VolumeKey, read_only
from care_live.publish import Publisher
from care_live.publish.slab_subscription import SlabSubscription
from care_live.wire.messages import Heartbeat
from care_live.wire.sockets import Sockets
from tests.make import records
from tests.make.messages import NOTES

PLANES = read_only(np.full((2, 16, 24), 7, np.float32))


@pytest.fixture
def hub() -> Iterator[Sockets]:
    with Sockets() as sockets:
        yield sockets


def heartbeat(port: int | None) -> Heartbeat:
    beat = NOTES["heartbeat"]
    assert isinstance(beat, Heartbeat)
    return msgspec.structs.replace(beat, broadcast_port=port)


def port_of(publisher: Publisher) -> int:
    return int(publisher.address.rpartition(":")[2])


def until(condition: Callable[[], object], within_s: float = 90.0) -> object:
    deadline = time.monotonic() + within_s
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found
    return found


def test_planes_come_as_the_record_that_was_published(publisher: Publisher, hub: Sockets) -> None:
    slabs = SlabSubscription(hub, publisher.address_pull)
    assert slabs.next() is None, "no heartbeat has named the port"
    slabs.follow(heartbeat(port_of(publisher)))
    until(lambda: publisher.subscribed)
    sent = records.planes(VolumeKey(3), {"mean": PLANES}, slice(4, 6), 32)
    publisher.broadcast.slab(sent)
    hub.poll(90)
    came = until(slabs.next).restored  # type: ignore[attr-defined]
    assert (came.key, came.z, came.n_planes) == (sent.key, sent.z, 32)
    assert np.array_equal(came.maps["mean"], PLANES)
    assert slabs.next() is None


def test_a_daemon_without_a_broadcast_is_left(publisher: Publisher, hub: Sockets) -> None:
    slabs = SlabSubscription(hub, publisher.address_pull)
    slabs.follow(heartbeat(port_of(publisher)))
    until(lambda: publisher.subscribed)
    slabs.follow(heartbeat(None))
    until(lambda: not publisher.subscribed)
    assert slabs.next() is None
