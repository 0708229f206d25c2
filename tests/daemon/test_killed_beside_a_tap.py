"""A daemon that is killed while a tap sends: the next one gets all that the first had not stored."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from care_live.images import VolumeKey
from care_live.source import tap
from care_live.store import RunReader, verify
from tests.faults.disturbed import SLOW_DISK
from tests.faults.lab import daemon
from tests.make.runs import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

N_TIMES, N_PLANES, SHAPE_PX = 24, 4, (24, 32)
PIXELS = np.random.default_rng(3).poisson(90, (N_TIMES, 2, N_PLANES, *SHAPE_PX)).astype(np.uint16)


def expose(address: str, said: list[bool], may_end: threading.Event) -> None:
    """Two positions in turn, plane by plane, so that every volume is open while others are stored."""
    places = [(t, p, z) for t in range(N_TIMES) for z in range(N_PLANES) for p in range(2)]
    tapped = tap(address, events=[{"axes": {"time": t, "position": p, "z": z}, "z": 0.5 * z} for t, p, z in places])
    for t, p, z in places:
        if t == N_TIMES - 2:
            may_end.wait(150)
        tapped(PIXELS[t, p, z].copy(), {"Axes": {"time": t, "position": p, "z": z}, "Exposure": 10.0})
        time.sleep(0.01)
    said.append(tapped.close("finished", within_s=120))


def check(run: Path) -> None:
    reader = RunReader(run)
    assert sorted(reader.keys("raw")) == [VolumeKey(t, p) for t in range(N_TIMES) for p in range(2)]
    for key in reader.keys("raw"):
        assert np.array_equal(reader.read("raw", key), PIXELS[key.t, key.p])
        assert reader.state(key, "raw") == "confirmed"
    assert verify(run).clean


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal that kills")
def test_no_plane_is_lost_while_planes_come(tmp_path: Path) -> None:
    address, said, may_end = f"tcp://127.0.0.1:{free_ports(1)[0]}", list[bool](), threading.Event()
    source = {"kind": "remote", "bind": address}
    camera = threading.Thread(target=expose, args=(address, said, may_end))
    with daemon(tmp_path, source=source) as first:
        first.wait_until(lambda status: status.get("phase") == "waiting")
        camera.start()
        first.wait_for_volumes(5)
        first.process.kill()
        first.process.wait(60)
    with daemon(tmp_path, source=source, arguments=["--resume"]) as second:
        second.wait_for_volumes(5)
        may_end.set()
        second.end()
    camera.join(200)
    assert said == [True]
    check(second.run)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal that kills")
def test_no_plane_is_lost_when_all_have_come_and_the_disk_is_slow(tmp_path: Path) -> None:
    """The tap has sent its last message and still keeps what is not stored."""
    address, said, may_end = f"tcp://127.0.0.1:{free_ports(1)[0]}", list[bool](), threading.Event()
    source = {"kind": "remote", "bind": address}
    camera = threading.Thread(target=expose, args=(address, said, may_end))
    with daemon(tmp_path, source=source, disturbed=True) as first:
        first.wait_until(lambda status: status.get("phase") == "waiting")
        camera.start()
        first.wait_for_volumes(3)
        (tmp_path / SLOW_DISK).write_text("5")
        may_end.set()
        first.wait_until(lambda status: status.get("received_planes") == PIXELS.shape[0] * 2 * N_PLANES)
        first.process.kill()
        first.process.wait(60)
    (tmp_path / SLOW_DISK).unlink()
    assert not said and len(RunReader(first.run).keys("raw")) < 2 * N_TIMES
    with daemon(tmp_path, source=source, arguments=["--resume"]) as second:
        second.end()
    camera.join(200)
    assert said == [True]
    check(second.run)
