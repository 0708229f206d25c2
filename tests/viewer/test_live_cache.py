"""The live cache: what it keeps and what it drops."""

from __future__ import annotations

from dataclasses import replace

import pytest

from care_live.images import VolumeKey
from care_live.viewer.live_cache import KEPT_STREAMS, LiveCache, rate
from care_live.viewer.volume_index import VolumeIndex
from tests.make.scenes import INFO, SMALL, but, scene


def test_the_cache_forgets_old_volumes_but_never_the_newest_of_a_channel():
    one = scene(0, shape=SMALL).nbytes
    cache = LiveCache(memory_bytes=3 * one)
    cache.put(scene(0, c=1, shape=SMALL))
    for t in range(8):
        cache.put(scene(t, shape=SMALL))
    assert cache.get(VolumeKey(0, 0, 1)) is not None
    assert VolumeKey(7) in cache.known() and VolumeKey(0) not in cache.known()
    assert len(cache.known()) == 3
    assert cache.newest() == VolumeKey(7) and cache.count == 9


def test_a_plate_of_many_positions_does_not_fill_a_viewers_memory():
    one = scene(0, shape=SMALL).nbytes
    cache = LiveCache(memory_bytes=3 * one)
    for t in range(2):
        for p in range(200):
            cache.put(but(scene(t, shape=SMALL), key=VolumeKey(t, p, 0)))
            assert sum(cache.get(key).nbytes for key in cache.known()) <= KEPT_STREAMS * one
    assert cache.known() == tuple(VolumeKey(1, p, 0) for p in range(200 - KEPT_STREAMS, 200))
    assert cache.newest() == VolumeKey(1, 199, 0) and cache.newest(3) == VolumeKey(1, 3, 0)
    assert VolumeIndex(cache).following()[0].key == VolumeKey(1, 199, 0)


def test_another_run_clears_the_cache():
    cache = LiveCache()
    cache.begin(INFO)
    cache.put(scene(5, shape=SMALL))
    cache.begin(replace(INFO, run_id="another"))
    assert cache.newest() is None and not cache.known()


@pytest.mark.parametrize("times", [[0.0], [0.0, 1.0, 2.0]])
def test_the_rate_sinks_when_volumes_stay_away(times):
    assert rate(times, now_s=2.0) == (1.0 if len(times) == 3 else 0.0)
    assert rate(times, now_s=20.0) == (0.1 if len(times) == 3 else 0.0)
