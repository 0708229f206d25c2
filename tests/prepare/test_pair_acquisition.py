"""Exposures become pairs of files; a preparation that is interrupted exposes nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from care_live.errors import SourceError
from care_live.images import REFERENCE, Frame, Plan, PlaneIndex, RunEnded, RunStarted, SourceEvent, VolumeKey, read_only
from care_live.model import file
from care_live.prepare.exposed_pairs import PairFolder
from care_live.prepare.exposure_plan import ExposurePlan, plan_exposures
from care_live.prepare.pair_acquisition import PairWriter, expose
from tests.make.scripted import volume
from tests.prepare.conftest import config

CARD = file.read_card(file.shipped())
N_Z, N_PAIRS = 8, 4


class Interrupted:
    """A source of planes whose counts tell time point, exposure and height; Ctrl-C comes at one of them."""

    def __init__(self, plan: ExposurePlan, *, at: int | None = None, lost: int | None = None, end: str = "finished"):
        self.first = plan.after(0).acquisition.first_time_point
        self._lost, self._at, self._end = lost, at, end
        self.stopped = self.closed = False
        self._events: Iterator[SourceEvent] = iter(())

    def __call__(self, microscope: object, *, run_id: str) -> Interrupted:
        self.first = microscope.acquisition.first_time_point  # type: ignore[attr-defined]
        self._events = self._run(run_id)
        return self

    def _run(self, run_id: str) -> Iterator[SourceEvent]:
        times, channels = range(self.first, N_PAIRS), ("DAPI", f"DAPI{REFERENCE}")
        stacks = {VolumeKey(t, 0, c): tuple(range(N_Z)) for t in times for c in range(2)}
        yield RunStarted(run_id, Plan(stacks, (64, 64), channels=channels), {})
        for number, (t, z, c) in enumerate((t, z, c) for t in times for z in range(N_Z) for c in range(2)):
            if self.stopped:
                break
            if number != self._lost:
                pixels = read_only(np.full((64, 64), 1000 * t + 100 * c + z, np.uint16))
                yield Frame(run_id, number, PlaneIndex(t, 0, c, z), pixels, host_time_ns=0)
            if number == self._at:
                raise KeyboardInterrupt
        yield RunEnded("aborted" if self.stopped else self._end, "the camera failed")  # type: ignore[arg-type]

    def next_event(self, timeout_s: float) -> SourceEvent | None:
        return next(self._events, None)

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.closed = True


def planned() -> ExposurePlan:
    return plan_exposures(config(), CARD)


def test_the_second_exposure_is_the_reference_channel(tmp_path: Path) -> None:
    there, reported = PairFolder(tmp_path), []
    expose(planned(), there, on_pair=lambda done, total: reported.append((done, total)), start=Interrupted(planned()))
    assert reported == [(done, 4) for done in range(5)]
    first, second = there.read("t0002-p000")
    assert first[0, :, 0, 0].tolist() == [2000 + z for z in range(N_Z)]
    assert second[0, :, 0, 0].tolist() == [2100 + z for z in range(N_Z)]


def test_ctrl_c_keeps_whole_pairs_and_they_are_not_exposed_again(tmp_path: Path) -> None:
    there, source = PairFolder(tmp_path), Interrupted(planned(), at=2 * N_Z + 3)
    with pytest.raises(KeyboardInterrupt):
        expose(planned(), there, start=source)
    assert source.stopped and source.closed
    assert there.names == ("t0000-p000",)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    again = Interrupted(planned())
    expose(planned(), there, start=again)
    assert again.first == 1
    assert len(there.names) == N_PAIRS
    expose(planned(), there, start=pytest.fail)


def test_a_pair_that_lacks_a_plane_is_left_out(tmp_path: Path) -> None:
    there = PairFolder(tmp_path)
    expose(planned(), there, start=Interrupted(planned(), lost=2 * N_Z + 3))
    assert there.names == ("t0000-p000", "t0002-p000", "t0003-p000")


def test_what_lacks_its_other_exposure_waits_no_longer_than_for_the_next_time_point(tmp_path: Path) -> None:
    writer = PairWriter(planned(), PairFolder(tmp_path), lambda done, total: None)
    for t in range(20):
        for p in range(2):
            writer.take(volume(t, p))
        assert writer.n_waiting == 2


def test_an_acquisition_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="acquisition of pairs failed: the camera failed"):
        expose(planned(), PairFolder(tmp_path), start=Interrupted(planned(), end="failed"))
