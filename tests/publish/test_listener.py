"""A listener to the broadcast."""

from __future__ import annotations

import time

import numpy as np

from care_live.images import VolumeKey, read_only
from care_live.publish import Delivery, Listener, Publisher
from care_live.wire.messages import End, Heartbeat
from tests.make import records, samples


def test_a_listener_gets_slabs_then_the_volume_and_the_notes(publisher: Publisher) -> None:
    with Listener(publisher.address, ("slab", "restored"), quantised=True) as listener:
        deadline = time.monotonic() + 90
        while len(publisher.subscribed) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        while not isinstance(listener.next(60.0), Heartbeat):  # subscribed last, so the other topics are in force
            assert time.monotonic() < deadline + 5
        whole = samples.restored(3)
        slab = records.planes(VolumeKey(3), {"mean": read_only(whole.mean[:2])}, slice(0, 2), 4)
        publisher.broadcast.slab(slab)
        publisher.publish(whole)
        publisher.end(samples.ENDED)
        heard_in_turn = []
        while not isinstance(one := listener.next(60.0), End):
            assert one is not None
            heard_in_turn.append(one)
        first, second = (one for one in heard_in_turn if isinstance(one, Delivery))
        assert listener.next(0.05) is None
    assert isinstance(first, Delivery) and not first.is_whole
    assert (first.restored.z, first.restored.n_planes) == (slice(0, 2), 4)
    assert isinstance(second, Delivery) and second.is_whole and second.key.t == 3 and second.raw is None
    step = float(np.ptp(whole.mean)) / 65535
    np.testing.assert_allclose(first.maps["mean"], whole.mean[:2], atol=step)
    np.testing.assert_allclose(second.maps["mean"], whole.mean, atol=step)
