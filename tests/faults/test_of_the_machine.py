"""Faults 1 to 4, 16 and 26: the daemon is killed, its disk fills up or is slow, its clock jumps, another one comes."""

from __future__ import annotations

import time

import pytest

from care_live.publish import Subscriber
from care_live.store import verify
from tests.faults.lab import check_raw, check_whole, daemon, recorded, rss_mib

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MIB = 2**20


def test_04_disk_ten_times_slower(tmp_path):
    """Memory stays within its bound, and every volume that finds no room is refused by name."""
    shape = (8, 128, 128)  # a quarter of a MiB
    pixels = recorded(tmp_path, times=24, shape=shape)
    source = {"kind": "replay", "path": str(tmp_path / "movie.tif"), "axes": "TZYX", "speed": 400.0}
    limits = {"assemble": {"memory_mib": 1}, "restore": {"policy": "latest"}}
    with daemon(tmp_path, source=source, disturbance="slow-disk:0.05", **limits) as slow:
        most_waiting, most_mib = 0, 0.0
        while slow.process.poll() is None:
            most_waiting = max(most_waiting, slow.status().get("waiting_bytes", 0))
            most_mib = max(most_mib, rss_mib(slow.process))
            time.sleep(0.02)
        status = slow.end(code=None)
    keys = check_raw(slow.run, pixels)
    n_refused = len(pixels) - len(keys)
    assert n_refused > 0, "the disk was not slow"
    assert slow.log.count("volume refused") == n_refused
    assert status["refused_volumes"] == n_refused and status["lost_planes"] == 0
    assert most_waiting <= MIB
    assert verify(slow.run).clean
    assert most_mib < 500


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_16_clock_jump(tmp_path, jump_s):
    """Durations come from the monotonic clock: no age nears an hour, and numbers rise, whatever the clock says."""
    pixels = recorded(tmp_path, times=40)
    with (
        daemon(tmp_path, disturbance=f"clock:{jump_s}:4") as jumping,
        Subscriber(jumping.address, mode="every") as subscriber,
    ):
        volumes = list(subscriber)
        status = jumping.end()
    assert [volume.key.t for volume in volumes] == list(range(len(pixels)))
    said_us = [volume.said.acquired_us for volume in volumes]
    assert max(said_us) - min(said_us) > 3000e6, "the clock did not jump"
    numbers = [volume.seq for volume in volumes]
    assert numbers == sorted(set(numbers))
    assert all(0 <= volume.age_s < 60 for volume in volumes)
    assert all(0 <= volume.said.age_us < 60e6 for volume in volumes)
    assert 0 < status["age_ms_p95"] < 60_000 and 0 < status["uptime_s"] < 300
    assert (status["lost_planes"], status["incomplete"]) == (0, 0)
    check_whole(jumping.run, pixels)
