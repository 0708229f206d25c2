"""From a real publisher into the live cache."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace

from care_live.config import PublishConfig
from care_live.images import ModelIdentity, NetworkInUse, RunEnded, StateChanged, VolumeKey
from care_live.publish.publisher import Publisher
from care_live.viewer.live_cache import LiveCache
from care_live.viewer.live_feed import LiveFeed
from care_live.wire.daemon_status import Status
from tests.make.scenes import STARTED, restored
from tests.make.waiting import until


def test_what_is_published_lies_in_the_cache():
    cache = LiveCache()
    config = PublishConfig(bind="tcp://127.0.0.1:*", bind_pull="tcp://127.0.0.1:*")
    with Publisher(config) as publisher:
        publisher.start(STARTED, NetworkInUse(ModelIdentity("worm3d", "0" * 64), {}))
        publisher.heartbeat(Status(planes_lost=3, planes_dropped=1, volumes_skipped=2, disk_s_left=60.0))
        feed = LiveFeed(publisher.address_pull, cache)
        try:
            publisher.publish(restored(0))
            until(lambda: cache.get(VolumeKey(0)))
            shown = cache.get(VolumeKey(0))
            assert (shown.raw == restored(0).volume.pixels).all() and (shown.maps["mean"] == restored(0).mean).all()
            assert (shown.maps["laplace_scale"] == restored(0).maps["laplace_scale"]).all() and shown.flags == {
                "saturated"
            }
            assert cache.info.run_id == "run-1" and cache.info.channels == ("DAPI",)
            publisher.change(StateChanged(VolumeKey(0), "suspect"))
            until(lambda: cache.get(VolumeKey(0)).state == "suspect")
            until(lambda: cache.status.connected and cache.status.lost_planes == 4)
            assert (cache.status.skipped_volumes, cache.status.disk_seconds_left) == (2, 60.0)
            publisher.end(RunEnded("finished"))
            until(lambda: cache.info.ended == "finished")
        finally:
            feed.close()


def test_ages_count_from_the_last_plane_by_a_clock_of_our_own():
    """The microscope's machine has a wrong time of day."""
    cache, wrong = LiveCache(), restored(0)
    wrong = replace(wrong, raw=replace(wrong.volume, acquired_us=1, last_plane_ns=time.monotonic_ns() - 7 * 10**9))
    with Publisher(PublishConfig(bind="tcp://127.0.0.1:0", bind_pull="tcp://127.0.0.1:0")) as publisher:
        publisher.start(STARTED, NetworkInUse(wrong.model, {}))
        feed = LiveFeed(publisher.address_pull, cache)
        try:
            publisher.publish(wrong)
            until(lambda: cache.get(VolumeKey(0)))
            seen = cache.get(VolumeKey(0))
            assert seen.last_plane_s == pytest.approx(wrong.volume.last_plane_ns / 1e9, abs=5.0)
        finally:
            feed.close()


def test_a_feed_without_a_daemon_says_so_and_ends():
    cache = LiveCache()
    feed = LiveFeed("tcp://127.0.0.1:9", cache)
    until(lambda: "no daemon" in cache.status.detail)
    feed.close()
