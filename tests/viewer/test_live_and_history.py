"""From a real publisher and a real run directory onto the shelf and into the library."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from care_live.config import PublishConfig, StoreConfig
from care_live.images import ModelIdentity, RunEnded, StateChanged, VolumeKey
from care_live.publish.publisher import Publisher
from care_live.store import open_run
from care_live.viewer.history import History
from care_live.viewer.live_cache import KEPT_STREAMS, Shelf, rate
from care_live.viewer.live_feed import LiveFeed
from care_live.viewer.volume_index import Library
from care_live.wire.messages import Status
from tests.make.scenes import INFO, SMALL, STARTED, restored, scene
from tests.make.waiting import until


def test_what_is_published_lies_on_the_shelf():
    shelf = Shelf()
    config = PublishConfig(bind="tcp://127.0.0.1:*", bind_pull="tcp://127.0.0.1:*")
    with Publisher(config) as publisher:
        publisher.start(STARTED, ModelIdentity("worm3d", "0" * 64))
        publisher.heartbeat(Status(planes_lost=3, planes_dropped=1, volumes_skipped=2, disk_s_left=60.0))
        feed = LiveFeed(publisher.address_pull, shelf)
        try:
            publisher.publish(restored(0))
            until(lambda: shelf.get(VolumeKey(0)))
            shown = shelf.get(VolumeKey(0))
            assert (shown.raw == restored(0).volume.pixels).all() and (shown.maps["mean"] == restored(0).mean).all()
            assert (shown.maps["laplace_scale"] == restored(0).maps["laplace_scale"]).all() and shown.flags == {
                "saturated"
            }
            assert shelf.info.run_id == "run-1" and shelf.info.channels == ("DAPI",)
            publisher.change(StateChanged(VolumeKey(0), "suspect"))
            until(lambda: shelf.get(VolumeKey(0)).state == "suspect")
            until(lambda: shelf.status.connected and shelf.status.lost_planes == 4)
            assert (shelf.status.skipped_volumes, shelf.status.disk_seconds_left) == (2, 60.0)
            publisher.end(RunEnded("finished"))
            until(lambda: shelf.info.ended == "finished")
        finally:
            feed.close()


def test_ages_count_from_the_last_plane_by_a_clock_of_our_own():
    """The microscope's machine has a wrong time of day."""
    shelf, wrong = Shelf(), restored(0)
    wrong = replace(wrong, raw=replace(wrong.volume, acquired_us=1, last_plane_ns=time.monotonic_ns() - 7 * 10**9))
    with Publisher(PublishConfig(bind="tcp://127.0.0.1:0", bind_pull="tcp://127.0.0.1:0")) as publisher:
        publisher.start(STARTED, wrong.model)
        feed = LiveFeed(publisher.address_pull, shelf)
        try:
            publisher.publish(wrong)
            until(lambda: shelf.get(VolumeKey(0)))
            seen = shelf.get(VolumeKey(0))
            assert seen.last_plane_s == pytest.approx(wrong.volume.last_plane_ns / 1e9, abs=2.0)
        finally:
            feed.close()


def test_a_feed_without_a_daemon_says_so_and_ends():
    shelf = Shelf()
    feed = LiveFeed("tcp://127.0.0.1:9", shelf)
    until(lambda: "no daemon" in shelf.status.detail)
    feed.close()


def test_a_run_is_read_while_it_is_written(tmp_path):
    config = StoreConfig(directory=tmp_path, keep_free_mib=0)
    history = History(tmp_path / "run-1")
    assert not history.known(), "not there yet"
    writer = open_run(config, STARTED)
    try:
        writer.write_raw(restored(0).volume)
        until(lambda: history.known() == {VolumeKey(0)})
        assert history.get(VolumeKey(0)).maps == {}
        writer.write_restored(restored(0))
        until(lambda: "mean" in history.get(VolumeKey(0)).maps)
        shown = history.get(VolumeKey(0))
        assert (shown.raw == restored(0).volume.pixels).all() and shown.model.name == "worm3d"
        assert np.abs(shown.maps["mean"] / restored(0).mean - 1).max() < 2**-10
        assert history.get(VolumeKey(0)) is shown, "read once"
        writer.note(StateChanged(VolumeKey(0), "confirmed"))
        until(lambda: history.get(VolumeKey(0)).state == "confirmed")
        assert history.get(VolumeKey(7)) is None
    finally:
        writer.close()


def test_a_run_that_cannot_be_read_says_why(tmp_path):
    folder = tmp_path / "run-1"
    folder.mkdir()
    history = History(folder)
    assert not history.known() and not history.problem, "no journal: not there yet"
    (folder / "journal.jsonl").touch()
    waiting = History(folder)
    assert not waiting.known() and not waiting.problem, "a daemon waits for its first frame"
    (folder / "journal.jsonl").write_text("rubbish\n")
    until(lambda: not history.known() and "run-1" in history.problem)


def test_the_library_has_old_volumes_from_the_store_and_new_ones_from_the_wire(tmp_path):
    writer = open_run(StoreConfig(directory=tmp_path, keep_free_mib=0), STARTED)
    for t in range(3):
        writer.write_raw(restored(t).volume)
    writer.close()
    shelf = Shelf()
    library = Library(shelf, History(tmp_path / "run-1"))
    assert library.newest() == VolumeKey(2)
    shelf.put(scene(3, shape=SMALL))
    assert library.newest() == VolumeKey(3)
    assert library.known() == tuple(VolumeKey(t) for t in range(4))
    assert [len(library.at(t, 0)) for t in (1, 3, 9)] == [1, 1, 0]
    assert library.at(3, 0)[0] is shelf.get(VolumeKey(3))


def test_the_shelf_forgets_old_volumes_but_never_the_newest_of_a_channel():
    one = scene(0, shape=SMALL).nbytes
    shelf = Shelf(memory_bytes=3 * one)
    shelf.put(scene(0, c=1, shape=SMALL))
    for t in range(8):
        shelf.put(scene(t, shape=SMALL))
    assert shelf.get(VolumeKey(0, 0, 1)) is not None
    assert VolumeKey(7) in shelf.known() and VolumeKey(0) not in shelf.known()
    assert len(shelf.known()) == 3
    assert shelf.newest() == VolumeKey(7) and shelf.count == 9


def test_a_plate_of_many_positions_does_not_fill_a_viewers_memory():
    one = scene(0, shape=SMALL).nbytes
    shelf = Shelf(memory_bytes=3 * one)
    for t in range(2):
        for p in range(200):
            shelf.put(replace(scene(t, shape=SMALL), key=VolumeKey(t, p, 0)))
            assert sum(shelf.get(key).nbytes for key in shelf.known()) <= KEPT_STREAMS * one
    assert shelf.known() == tuple(VolumeKey(1, p, 0) for p in range(200 - KEPT_STREAMS, 200))
    assert shelf.newest() == VolumeKey(1, 199, 0) and shelf.newest(3) == VolumeKey(1, 3, 0)
    assert Library(shelf).following()[0].key == VolumeKey(1, 199, 0)


def test_another_run_clears_the_shelf():
    shelf = Shelf()
    shelf.begin(INFO)
    shelf.put(scene(5, shape=SMALL))
    shelf.begin(replace(INFO, run_id="another"))
    assert shelf.newest() is None and not shelf.known()


@pytest.mark.parametrize("times", [[0.0], [0.0, 1.0, 2.0]])
def test_the_rate_sinks_when_volumes_stay_away(times):
    assert rate(times, now_s=2.0) == (1.0 if len(times) == 3 else 0.0)
    assert rate(times, now_s=20.0) == (0.1 if len(times) == 3 else 0.0)
