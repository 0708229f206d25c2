"""The live cache: what it keeps and what it drops."""

from __future__ import annotations

from dataclasses import replace

import pytest

from care_live.images import VolumeKey
from care_live.viewer.live_cache import KEPT_STREAMS, Shelf, rate
from care_live.viewer.volume_index import Library
from tests.make.scenes import INFO, SMALL, scene


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
