"""A daemon and its watchers, over real sockets."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from msgspec import UNSET

from care_live.errors import ConfigError, ProtocolError
from care_live.images import Restored, Volume, VolumeKey
from care_live.publish import drain
from care_live.publish.publisher import Publisher
from care_live.publish.subscriber import Subscriber
from care_live.wire import cl1, keys, sockets
from care_live.wire.arrays import ArrayCodec
from care_live.wire.daemon_status import Status
from care_live.wire.messages import End, Gap, Heartbeat, Hello, Refused, Replay, View
from tests.make import samples
from tests.make.watching import answer, until


def test_what_came_is_the_record_that_was_published(publisher: Publisher) -> None:
    sent = samples.restored(3)
    publisher.publish(sent)
    with Subscriber(publisher.address_pull) as watching:
        came = next(iter(watching)).restored
    assert came.key == sent.key and came.flags == sent.flags and came.model == sent.model
    assert came.volume.integrity == sent.volume.integrity
    assert came.volume.last_plane_ns // 1000 == sent.volume.last_plane_ns // 1000
    assert (came.low, came.high, came.voxel_size_um) == (sent.low, sent.high, sent.voxel_size_um)


def test_a_raw_volume_never_takes_the_place_of_a_restored_one_in_silence() -> None:
    """A store that shed a restored volume has its raw one: replay says so, and a fetch by key gives it, marked."""
    stored: dict[VolumeKey, Restored | Volume] = {VolumeKey(0): samples.volume(0)}
    with Publisher(samples.config(replay_mib=0), replay_from_store=stored.get) as publisher:
        publisher.start(samples.started(), samples.NETWORK)
        for t in range(2):
            publisher.publish(samples.restored(t))
        with Subscriber(publisher.address_pull, mode="every") as recorder:
            gap = until(recorder, Gap)
            assert isinstance(gap, Gap) and (gap.first, gap.last, gap.key) == (1, 1, (0, 0, 0))
            assert gap.reason == "not-stored" and "raw" in gap.detail
            assert next(recorder.volumes(60.0)).key.t == 1
            recorder.fetch(VolumeKey(0))
            raw = next(recorder.volumes(60.0))
            assert (raw.key.t, raw.model, raw.header.was_restored) == (0, None, True)
            stored[VolumeKey(0)] = samples.restored(0)
            recorder.fetch(VolumeKey(0))
            whole = next(recorder.volumes(60.0))
            assert (whole.key.t, whole.model, whole.header.was_restored) == (0, samples.MODEL, UNSET)


def test_one_volume_can_be_fetched_by_its_key(publisher: Publisher) -> None:
    for t in range(4):
        publisher.publish(samples.restored(t))
    with Subscriber(publisher.address_pull) as watching:
        assert next(watching.volumes(60.0)).key.t == 3
        watching.fetch(VolumeKey(1), View(products=("mean",)))
        fetched = next(watching.volumes(60.0))
        assert fetched.key.t == 1 and fetched.raw is None
        for key, reason in ((VolumeKey(77), "future"), (VolumeKey(777), "not-stored"), (VolumeKey(0, 3), "not-stored")):
            watching.fetch(key)
            gap = until(watching, Gap)
            assert gap.key == key and gap.reason == reason  # type: ignore[union-attr]
        publisher.end(samples.ENDED)
        until(watching, End)
        watching.fetch(VolumeKey(77))
        assert until(watching, Gap).reason == "not-stored"  # type: ignore[union-attr]


def test_heartbeats_say_how_the_daemon_does(publisher: Publisher) -> None:
    publisher.heartbeat(Status(planes_per_s=97.5, queue_depths={"restore": 2}, volumes_skipped=3, disk_s_left=3600.0))
    with Subscriber(publisher.address_pull) as watching:
        heartbeat = until(watching, Heartbeat)
        assert heartbeat.status.planes_per_s == 97.5  # type: ignore[union-attr]
        assert heartbeat.status.queue_depths == {"restore": 2}  # type: ignore[union-attr]
        assert heartbeat.run == "run-1"
        assert publisher.n_watchers == 1


@pytest.mark.parametrize("codec", ["none", "blosc2"])
def test_levels_regions_and_quantised_products_are_made_on_request(publisher: Publisher, codec: ArrayCodec) -> None:
    sent = samples.restored(0, shape=(4, 33, 50))
    publisher.publish(sent)
    region = {"origin_px": (1, 2, 3), "shape_px": (2, 5, 100)}
    view = View(products=("mean", "laplace_scale"), quantised=True, codec=codec, level=1, **region)
    with Subscriber(publisher.address_pull, view=view) as watching:
        seen = next(watching.volumes(60.0))
    assert seen.raw is None
    blocks = sent.mean[:, :32].reshape(4, 16, 2, 25, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(seen.maps["mean"], blocks[1:3, 2:7, 3:25], atol=float(np.ptp(blocks)) / 65535)
    assert seen.voxel_size_um == (2.0, 1.0, 1.0)
    assert (seen.header.arrays[0].origin_px, seen.header.arrays[0].codec) == ((1, 2, 3), codec)


def test_publishing_never_waits_for_a_frozen_viewer_and_keeps_no_more_than_its_credit() -> None:
    """A peer that asks and then never reads: the bound of the log holds, and each call returns at once."""
    big = (8, 256, 256)
    with Publisher(samples.config(replay_mib=4)) as publisher, sockets.Sockets() as frozen:
        publisher.start(samples.started(), samples.NETWORK)
        with Subscriber(publisher.address_pull) as alive:
            link = frozen.connect("dealer", publisher.address_pull)
            link.send([b'{"protocol":"cl1","type":"newest","credit":2}'])
            volumes, longest_s = alive.volumes(60.0), 0.0
            records = [samples.restored(t, shape=big) for t in range(20)]
            for record in records:
                began = time.monotonic()
                publisher.publish(record)
                longest_s = max(longest_s, time.monotonic() - began)
                assert next(volumes).key == record.key
        assert longest_s < 20.0, "it waited for the viewer that never reads"
        assert publisher.held_bytes <= 4 * 1024**2 + 2 * records[0].mean.nbytes * 4


def test_the_next_run_is_not_held_up_by_a_recorder_that_repeats_its_request_and_acknowledges_nothing(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "LONGEST_S", 200.0)
    over = threading.Event()

    def repeat() -> None:
        with sockets.Sockets() as hub:
            link = hub.connect("dealer", publisher.address_pull)
            link.send(cl1.encode_request(Hello()))
            heartbeat = answer(hub, link, Heartbeat)
            assert heartbeat is not None
            while not over.wait(0.2):
                link.send(cl1.encode_request(Replay(session=heartbeat.session, first=0, credit=2)))
                while link.receive() is not None:
                    requested.set()

    requested, recorder = threading.Event(), threading.Thread(target=repeat)
    for t in range(6):
        publisher.publish(samples.restored(t))
    recorder.start()
    try:
        assert requested.wait(60)
        publisher.end(samples.ENDED)
        assert publisher.drain(100.0), "it waited for as long as it would for one that gets on"
    finally:
        over.set()
        recorder.join(60)


def test_nonsense_is_answered_and_does_no_harm(publisher: Publisher) -> None:
    publisher.publish(samples.restored(0))
    with sockets.Sockets() as rude:
        link = rude.connect("dealer", publisher.address_pull, hwm=64)
        for nonsense in (b"", b"[" * 60_000, b'{"protocol":"cl9","type":"hello"}', b"\xff" * 99, b'{"type":"replay"}'):
            assert link.send([nonsense])
            assert answer(rude, link, Refused) is not None  # heartbeats come in between
        assert link.send([b"x" * 10_000_000])
    with Subscriber(publisher.address_pull) as watching:
        assert next(watching.volumes(60.0)).key.t == 0


def test_roles_hold(tmp_path: Path) -> None:
    server, allowed = samples.write_keys(tmp_path)
    own = keys.read_pair(server)
    viewer, recorder = sockets.new_pair(), sockets.new_pair()
    keys.allow(allowed, viewer.public, "vera", "viewer")
    keys.allow(allowed, recorder.public, "rex", "recorder")
    with Publisher(samples.config(server_key_file=server, authorized_keys_file=allowed)) as publisher:
        publisher.start(samples.started(), samples.NETWORK)
        publisher.publish(samples.restored(0))
        with Subscriber(publisher.address_pull, keys=keys.ClientKeys(viewer, own.public)) as watching:
            assert next(watching.volumes(60.0)).key.t == 0
        with Subscriber(publisher.address_pull, keys=keys.ClientKeys(recorder, own.public), mode="every") as recording:
            assert next(recording.volumes(60.0)).key.t == 0
        with (
            Subscriber(publisher.address_pull, keys=keys.ClientKeys(viewer, own.public), mode="every") as greedy,
            pytest.raises(ProtocolError, match="vera is viewer"),
        ):
            next(greedy.volumes(60.0))
        with Subscriber(publisher.address_pull) as stranger:
            assert next(stranger.volumes(0.7), None) is None


def test_a_key_that_others_can_read_refuses_to_start(tmp_path: Path) -> None:
    server, allowed = samples.write_keys(tmp_path)
    server.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read it"):
        Publisher(samples.config(server_key_file=server, authorized_keys_file=allowed))


def test_a_taken_port_and_an_open_one_without_keys_refuse_to_start(publisher: Publisher) -> None:
    with pytest.raises(ConfigError, match="is taken by another program"):
        Publisher(samples.config(bind_pull=publisher.address_pull))
    with pytest.raises(ConfigError, match="can be reached from other machines"):
        Publisher(samples.config(bind="tcp://0.0.0.0:0"))


def test_many_threads_may_publish_at_once(publisher: Publisher) -> None:
    """Each number is given once, whichever thread publishes."""
    records = [samples.restored(t) for t in range(24)]
    threads = [
        threading.Thread(target=lambda part=part: [publisher.publish(r) for r in part])
        for part in (records[::2], records[1::2])
    ]
    for thread in threads:
        thread.start()
    with Subscriber(publisher.address_pull, mode="every") as recorder:
        volumes = recorder.volumes(60.0)
        seen = [next(volumes) for _ in records]
    for thread in threads:
        thread.join()
    assert [volume.seq for volume in seen] == list(range(1, 25))
    assert {volume.key.t for volume in seen} == set(range(24))
