"""Faults 1 to 4, 16 and 26: the daemon is killed, its disk fills up or is slow, its clock jumps, another one comes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.publish import Subscriber
from care_live.store import RunReader, verify
from tests.faults.disturbed import CLOCK, SLOW_DISK
from tests.faults.lab import (
    FULL,
    N_KILLS,
    PATIENCE,
    DaemonUnderTest,
    check_gapless,
    check_raw,
    check_whole,
    daemon,
    recorded,
    rss_mib,
)
from tests.faults.shards import kill_again_and_again
from tests.make.runs import replay
from tests.make.small_disk import fill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 40 * N_KILLS)]

MIB = 2**20
HALF_WRITTEN = {"orphan", "partial", "journal"}
"""Problems of what was never acknowledged; the next start sets them right."""


def test_01_daemon_killed(tmp_path):
    """Nothing acknowledged is lost, it is back within 5 s, and what was not restored is restored."""
    chance = random.Random(7)
    pixels = recorded(tmp_path, times=12 * N_KILLS)
    kept: dict[VolumeKey, bytes] = {}
    for _ in range(N_KILLS):
        began_s = time.monotonic()
        with daemon(tmp_path, restore={"policy": "latest"}) as killed:
            _wait_for_more(killed, than=len(kept))
            if kept:
                assert time.monotonic() - began_s <= 5 * PATIENCE
            time.sleep(chance.uniform(0.0, 0.6))
        now = _acknowledged(killed.run)
        assert all(now.get(key) == before for key, before in kept.items())
        assert {problem.kind for problem in verify(killed.run).problems} <= HALF_WRITTEN
        kept = now
    with daemon(tmp_path, restore={"policy": "latest"}, arguments=["--resume"]) as last:  # it may have finished before
        last.end()
    check_whole(last.run, pixels)


def _wait_for_more(killed: DaemonUnderTest, *, than: int) -> None:
    """Wait until the run has more raw volumes than before, or is over."""
    deadline = time.monotonic() + 240
    while killed.process.poll() is None and len(_acknowledged(killed.run)) <= than:
        assert time.monotonic() < deadline, killed.log
        time.sleep(0.05)


def _acknowledged(run: Path) -> dict[VolumeKey, bytes]:
    """Return the pixels of every raw volume that the journal has."""
    try:
        reader = RunReader(run)
    except StoreError:
        return {}
    return {key: reader.read("raw", key).tobytes() for key in reader.keys("raw")}


def test_02_killed_while_shards_are_replaced(tmp_path):
    """No shard is unreadable, for a reader meanwhile or after; what a kill left half-written is removed on start."""
    kill_again_and_again(tmp_path, n_kills=50 if FULL else 6, seed=2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB in memory; needs the right to mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    while os.path.ismount(disk):
        subprocess.run(["umount", str(disk)], check=True)


def test_03_disk_full_mid_run(tmp_path, small_disk):
    """Restored volumes are shed first, then raw ones wait and it says so within 1 s; all goes on when it is freed."""
    pixels = recorded(tmp_path, times=60, shape=(8, 64, 64))
    source = replay(tmp_path / "movie.tif", speed=60.0, loops=10)
    store = {"directory": str(small_disk / "runs"), "keep_free_mib": 16}
    (tmp_path / "runs").symlink_to(small_disk / "runs")
    with daemon(tmp_path, source=source, restore={"policy": "latest"}, store=store) as filling:
        filling.wait_until(lambda status: status.get("stored_restored", 0) >= 1)
        ballast = fill(small_disk, leave_mib=15.5)
        shed = filling.wait_until(lambda status: status.get("shed", 0) >= 2)
        filling.wait_until(lambda status: status.get("stored_raw", 0) > shed["stored_raw"])
        fill(small_disk, leave_mib=4)  # less than half of what must stay free
        began_s = time.monotonic()
        filling.wait_until(lambda status: "waits for the disk" in status.get("detail", ""))
        assert time.monotonic() - began_s <= 1 * PATIENCE
        _acknowledged(filling.run)
        ballast.unlink()
        filling.wait_for_volumes(filling.figures()["stored_raw"] + 2)
        filling.drain()
        status = filling.end()
    assert status["refused_volumes"] == 0
    check_gapless(filling.run, pixels)
    assert verify(filling.run).clean


def test_04_disk_ten_times_slower(tmp_path):
    """Memory stays within its bound, and every volume that finds no room is refused by name."""
    shape = (8, 128, 128)  # a quarter of a MiB
    pixels = recorded(tmp_path, times=24, shape=shape)
    source = {"kind": "replay", "path": str(tmp_path / "movie.tif"), "axes": "TZYX", "speed": 400.0}
    limits = {"assemble": {"memory_mib": 1}, "restore": {"policy": "latest"}}
    (tmp_path / SLOW_DISK).write_text("0.05")
    with daemon(tmp_path, source=source, disturbed=True, **limits) as slow:
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
    source = replay(tmp_path / "movie.tif", speed=60.0, loops=100)
    with (
        daemon(tmp_path, source=source, restore={"policy": "wait"}, disturbed=True) as jumping,
        Subscriber(jumping.address, mode="every") as subscriber,
    ):
        volumes, n_when = [], {}
        for volume in subscriber:
            volumes.append(volume)
            said_us = [volume.header.acquired_us for volume in volumes]
            if len(volumes) == 10:
                (tmp_path / CLOCK).write_text(str(jump_s))
            if "there" not in n_when and max(said_us) - min(said_us) > 3000e6:
                n_when["there"] = len(volumes)
                (tmp_path / CLOCK).unlink()
            if "back" not in n_when and "there" in n_when and abs(said_us[-1] - said_us[0]) < 600e6:
                n_when["back"] = len(volumes)
                jumping.drain()
        status = jumping.end()
    assert set(n_when) == {"there", "back"}, "the clock did not jump"
    last = check_gapless(jumping.run, pixels)[-1]
    assert [volume.key for volume in volumes] == RunReader(jumping.run).keys("restored")
    numbers = [volume.seq for volume in volumes]
    assert numbers == sorted(set(numbers))
    assert all(0 <= volume.age_s < 60 for volume in volumes)
    assert all(0 <= volume.header.age_us < 60e6 for volume in volumes)
    assert 0 < status["age_ms_p95"] < 60_000 and 0 < status["uptime_s"] < 300
    assert status["lost_planes"] == len(RunReader(jumping.run).read_raw(last).integrity.missing), "cut by the drain"
    assert verify(jumping.run).clean


def test_26_two_daemons_on_one_run(tmp_path):
    """The second one refuses, with one line, and the first goes on."""
    pixels = recorded(tmp_path, times=60)
    source = replay(tmp_path / "movie.tif", speed=60.0, loops=100)
    with daemon(tmp_path, source=source) as first:
        first.wait_for_volumes(2)
        with daemon(tmp_path, source=source) as second:
            second.end(1)
        assert "care-live: " in first.log and "is being written" in first.log
        first.wait_for_volumes(first.figures()["stored_raw"] + 2)
        first.drain()
        first.end()
    check_gapless(first.run, pixels)
    assert verify(first.run).clean
