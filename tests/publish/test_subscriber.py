"""A subscriber gets the newest at its own pace, and connects again by itself."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

import care_live
from care_live.images import VolumeKey
from care_live.publish.publisher import Publisher
from care_live.publish.subscriber import Subscriber
from tests.make import samples
from tests.make.runs import free_ports


@pytest.mark.slow
def test_three_lines_give_volumes_with_their_metadata(publisher: Publisher) -> None:
    sent = samples.restored(0)
    publisher.publish(sent)
    publisher.end(samples.ENDED)
    with care_live.subscribe(publisher.address_pull) as watching:
        seen = list(watching)
    assert [volume.key for volume in seen] == [VolumeKey(0)]
    volume = seen[0]
    np.testing.assert_array_equal(volume.maps["mean"], sent.mean)
    np.testing.assert_array_equal(volume.maps["laplace_scale"], sent.maps["laplace_scale"])
    np.testing.assert_array_equal(volume.maps["disagreement"], sent.maps["disagreement"])
    np.testing.assert_array_equal(volume.raw, sent.volume.pixels)
    assert volume.model == samples.MODEL
    assert volume.limits == "not for intensity quantification"
    assert volume.flags == {"saturated"}
    assert volume.state == "provisional"
    assert 0 <= volume.age_s < 300
    assert not volume.maps["mean"].flags.writeable


def test_async_iteration_gives_the_same(publisher: Publisher) -> None:
    async def watch() -> list[int]:
        with care_live.subscribe(publisher.address_pull, mode="every") as watching:
            return [volume.key.t async for volume in watching]

    for t in range(3):
        publisher.publish(samples.restored(t))
    publisher.end(samples.ENDED)
    assert asyncio.run(watch()) == [0, 1, 2]


def test_a_late_joiner_gets_the_newest_at_once_and_then_what_follows(publisher: Publisher) -> None:
    for t in range(10):
        publisher.publish(samples.restored(t))
    with Subscriber(publisher.address_pull) as late:
        volumes = late.volumes(60.0)
        assert next(volumes).key.t == 9
        publisher.publish(samples.restored(10))
        assert next(volumes).key.t == 10
        assert late.run is not None and late.run.summary == {"scope": "test"}


def test_a_slow_viewer_gets_the_newest_and_counts_what_it_passed_over(publisher: Publisher) -> None:
    with Subscriber(publisher.address_pull) as slow:
        volumes = slow.volumes(60.0)
        publisher.publish(samples.restored(0))
        assert next(volumes).key.t == 0
        for t in range(1, 9):
            publisher.publish(samples.restored(t))
        assert next(volumes).key.t == 8
        assert slow.n_skipped == 7 and slow.n_lost == 0


def test_every_channel_keeps_its_turn(publisher: Publisher) -> None:
    """Two channels, and a viewer that is too slow for both: it must not see only one of them."""
    seen = []
    with Subscriber(publisher.address_pull) as slow:
        volumes = slow.volumes(60.0)
        for t in range(12):
            for c in (0, 1):
                publisher.publish(samples.restored(t, c))
            seen.append(next(volumes).key.c)
    assert seen.count(0) >= 4 and seen.count(1) >= 4


def test_one_channel_can_be_asked_for(publisher: Publisher) -> None:
    for c in (0, 1):
        publisher.publish(samples.restored(0, c))
    with Subscriber(publisher.address_pull, channel=1) as watching:
        assert next(watching.volumes(60.0)).key.c == 1
        assert next(watching.volumes(0.3), None) is None


def test_a_volume_restored_late_does_not_turn_a_live_viewer_back(publisher: Publisher) -> None:
    publisher.publish(samples.restored(5))
    publisher.publish(samples.restored(2))
    with Subscriber(publisher.address_pull) as live, Subscriber(publisher.address_pull, mode="every") as all_of_it:
        assert next(live.volumes(60.0)).key.t == 5
        volumes = all_of_it.volumes(60.0)
        assert [next(volumes).key.t, next(volumes).key.t] == [5, 2]


@pytest.mark.slow
def test_a_new_daemon_on_the_same_port_is_found_again() -> None:
    with Publisher(samples.config(bind_pull=f"tcp://127.0.0.1:{free_ports(1)[0]}")) as first:
        address = first.address_pull
        first.start(samples.started(), samples.NETWORK)
        first.publish(samples.restored(40))
        watching = Subscriber(address)
        recording = Subscriber(address, mode="every")
        assert next(watching.volumes(60.0)).key.t == 40
        assert next(recording.volumes(60.0)).key.t == 40
    with Publisher(samples.config(bind_pull=address)) as second, watching, recording:
        second.start(samples.started(), samples.NETWORK)
        second.publish(samples.restored(41))
        assert next(watching.volumes(60.0)).key.t == 41
        assert next(recording.volumes(60.0)).key.t == 41


@pytest.mark.slow
def test_a_cut_link_loses_nothing_for_a_recorder(publisher: Publisher) -> None:
    from tests.publish.relay import Relay

    with Relay(publisher.address_pull) as relay, Subscriber(relay.address, mode="every") as recorder:
        volumes = recorder.volumes(60.0)
        for t in range(3):
            publisher.publish(samples.restored(t))
        seen = [next(volumes).key.t for _ in range(2)]
        relay.cut()
        for t in range(3, 8):
            publisher.publish(samples.restored(t))
        relay.mend()
        publisher.end(samples.ENDED)
        seen += [volume.key.t for volume in volumes]
    assert seen == list(range(8))
    assert recorder.n_lost == 0


@pytest.mark.slow
def test_a_link_that_takes_many_seconds_for_an_array_is_not_taken_for_dead(publisher: Publisher) -> None:
    """A tunnel to another city: heartbeats queue behind the pixels."""
    from tests.publish.relay import Relay

    publisher.publish(samples.restored(0, shape=(20, 192, 192)))
    with Relay(publisher.address_pull, bytes_per_s=1e6) as tunnel, Subscriber(tunnel.address) as far:
        volume = next(far.volumes(200.0))
        assert volume.key.t == 0
        assert far.n_damaged == 0
