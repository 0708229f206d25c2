"""A run read as a recording follows its journal: what never came does not play as a dark volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from care_live.errors import SourceError
from care_live.images import Integrity, PlaneIndex, RunEnded, VolumeKey
from care_live.recorded import open_recording
from tests.make.stored import make_pixels, make_plan, make_volume, open_writer

KEYS = [VolumeKey(t, p) for t in range(4) for p in range(2)]
LOST = VolumeKey(1, 1)


def write(folder: Path, *, ended: str | None = "finished", last: int = 3) -> Path:
    """Write a run of four time points at two positions, in which one volume and one plane never came."""
    writer = open_writer(folder, make_plan(n_t=4, n_p=2))
    for i, key in enumerate(key for key in KEYS if key != LOST and key.t <= last):
        volume = make_volume(key, integrity=Integrity((0, 1, 2), (0, 1, 2)), acquired_us=1000 + i)
        if key == VolumeKey(2, 0):
            volume = replace(volume, integrity=Integrity((0, 1, 2), (0, 2)))
        writer.write_raw(volume)
    if ended:
        writer.note(RunEnded(ended))
    writer.close()
    return writer.path


def test_what_never_came_is_not_read(tmp_path: Path) -> None:
    recording = open_recording(write(tmp_path))
    order = recording.contents.order
    assert {index.volume for index in order} == set(KEYS) - {LOST}
    assert PlaneIndex(2, 0, 0, 1) not in order
    assert recording.contents.plan.stacks[LOST] == (0, 1, 2)
    for index in order:
        assert (recording.read_plane(index) == make_pixels(index.volume)[index.z]).all()
    for lost in (PlaneIndex(1, 1, 0, 0), PlaneIndex(2, 0, 0, 1)):
        with pytest.raises(SourceError, match="does not acknowledge"):
            recording.read_plane(lost)
    assert recording.stamp(order[-1]).exposure_ms == 5.0
    recording.close()


def test_a_run_that_was_cut_short_has_a_plan_up_to_its_last_time_point(tmp_path: Path) -> None:
    path = write(tmp_path, ended=None, last=1)
    plan = open_recording(path).contents.plan
    assert sorted(plan.stacks) == [key for key in KEYS if key.t <= 1]


@pytest.mark.parametrize("part", ["raw", "raw/1"])
def test_the_images_in_a_run_follow_its_journal_too(tmp_path: Path, part: str) -> None:
    recording = open_recording(write(tmp_path) / part)
    assert LOST not in {index.volume for index in recording.contents.order}
    assert {key.p for key in recording.contents.plan.stacks} == ({1} if part == "raw/1" else {0, 1})
    recording.close()


def test_a_lost_or_changed_shard_is_an_error_and_no_dark_volume(tmp_path: Path) -> None:
    path = write(tmp_path)
    (path / "raw/0/0/c/0/0/0/0/0").unlink()
    (path / "raw/0/0/c/3/0/0/0/0").write_bytes((path / "raw/0/0/c/2/0/0/0/0").read_bytes())
    recording = open_recording(path)
    for t in (0, 3):
        with pytest.raises(SourceError, match="not what was stored"):
            recording.read_plane(PlaneIndex(t, 0, 0, 0))
    assert np.any(recording.read_plane(PlaneIndex(2, 0, 0, 0)))
    recording.close()


def test_a_journal_without_a_beginning_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    journal = path / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(SourceError, match="care-live verify"):
        open_recording(path)
