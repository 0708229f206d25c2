"""The last seconds of Live: bounded in memory, and stored as a run only when a person asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from care_live.config import LiveConfig, StoreConfig
from care_live.daemon.live_keeping import RecentFrames
from care_live.daemon.live_volume import volume_of
from care_live.errors import SourceError
from care_live.images import Volume, VolumeKey
from care_live.live_frame import LiveConditions, LiveFrame
from care_live.store import RunReader, verify

SECOND_NS = 10**9


def shown(t: int, *, exposure_ms: float = 10.0, size: int = 16) -> Volume:
    pixels = np.full((size, size), 100 + t, np.uint16)
    conditions = LiveConditions(exposure_ms=exposure_ms, channel="DAPI", z_um=float(t))
    return volume_of(LiveFrame(pixels, t, t * SECOND_NS, conditions), t)


def test_what_is_kept_is_a_run_with_the_frames_of_the_last_seconds(tmp_path: Path) -> None:
    recent = RecentFrames(LiveConfig(keep_s=100), StoreConfig(directory=tmp_path, keep_free_mib=0))
    for t in range(8):
        recent.add(shown(t, exposure_ms=5.0 if t < 2 else 10.0))
    assert list(tmp_path.iterdir()) == []
    said = recent.keep(4)
    recent.close()
    assert said.startswith("keeping 5 frames of the last 4.0 s as run live-")
    (run,) = tmp_path.iterdir()
    reader = RunReader(run)
    assert sorted(reader.keys("raw")) == [VolumeKey(t) for t in range(5)]
    assert [int(reader.read("raw", VolumeKey(t))[0, 0, 0]) for t in range(5)] == [103, 104, 105, 106, 107]
    assert reader.plan.channels == ("DAPI",)
    assert reader.summary["conditions"][0]["z_um"] == 3.0
    assert verify(run).clean


def test_each_order_to_keep_is_a_run_of_its_own_within_a_second_too(tmp_path: Path) -> None:
    recent = RecentFrames(LiveConfig(keep_s=100), StoreConfig(directory=tmp_path, keep_free_mib=0))
    recent.add(shown(0))
    names = {recent.keep(1).rpartition(" ")[2] for _ in range(3)}
    recent.close()
    assert {run.name for run in tmp_path.iterdir()} == names
    assert len(names) == 3 and all(verify(tmp_path / name).clean for name in names)


@pytest.mark.parametrize("keep_mib", [0, 1])
def test_frames_that_are_larger_than_the_memory_for_them_are_not_kept(tmp_path: Path, keep_mib: int) -> None:
    recent = RecentFrames(LiveConfig(keep_mib=keep_mib), StoreConfig(directory=tmp_path))
    for t in range(3):
        recent.add(shown(t, size=1024))
    with pytest.raises(SourceError, match="no frame of Live"):
        recent.keep(60)


def test_frames_of_another_exposure_are_left_out(tmp_path: Path) -> None:
    recent = RecentFrames(LiveConfig(keep_s=100), StoreConfig(directory=tmp_path, keep_free_mib=0))
    for t in range(4):
        recent.add(shown(t, exposure_ms=5.0 if t == 1 else 10.0))
    assert recent.keep(100).startswith("keeping 3 frames")
    recent.close()


def test_memory_is_bounded_in_seconds_and_bytes(tmp_path: Path) -> None:
    one = shown(0, size=512).pixels.nbytes
    recent = RecentFrames(LiveConfig(keep_s=3, keep_mib=1), StoreConfig(directory=tmp_path))
    for t in range(6):
        recent.add(shown(t, size=512))
    assert recent.keep(100).startswith(f"keeping {2**20 // one} frames")
    recent.close()


def test_without_live_there_is_nothing_to_keep(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="start Live"):
        RecentFrames(LiveConfig(), StoreConfig(directory=tmp_path)).keep(5)
