"""One acquisition of a window as a run: from the files that a real window writes, and where the window is silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import sentinel

import numpy as np
import pytest

from care_live.config import StudioConfig
from care_live.images import Frame, PlaneIndex, RunEnded, RunStarted, SourceEvent, StillAcquiring
from care_live.source.java_bridge import UnansweredError
from care_live.source.studio import StudioSource
from care_live.source.studio_acquisitions import WindowAcquisition
from care_live.source.studio_run import StudioRun
from care_live.source.studio_window import AcquisitionProgress
from tests.source.growing import SHAPE_PX, GrowingDataSet
from tests.source.test_follower import Clock
from tests.source.window_driver import Saved, WindowDriver
from tests.source.window_runs import Came, checksums, is_closed

N_PLANES = 6
PIXELS = np.random.default_rng(5).integers(1, 65535, (N_PLANES, *SHAPE_PX), np.uint16)
WANTED = {"IntendedDimensions": {"time": N_PLANES}}


def java(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that needs the window of a real Micro-Manager."""
    return pytest.mark.java(pytest.mark.slow(pytest.mark.timeout(900)(test)))


class Window:
    """What a window says of one acquisition; it may fall silent, end, or start anew without it."""

    def __init__(self) -> None:
        self.now = AcquisitionProgress(is_running=True, is_paused=False, is_closed=False, n_images=0)
        self.is_silent = self.is_gone = self.is_another = False
        self.n_lost = 0
        self.released: list[Any] = []

    def progress(self, _: WindowAcquisition) -> AcquisitionProgress:
        self._answer()
        return self.now

    def find_again(self, _: WindowAcquisition, images: object) -> bool:
        assert images is None, "they are read from files"
        self._answer()
        return not self.is_another

    def lose(self) -> None:
        self.n_lost += 1

    def release(self, acquisition: WindowAcquisition) -> None:
        self.released.append(acquisition)

    def _answer(self) -> None:
        if self.is_silent:
            raise UnansweredError("Micro-Manager did not answer")


class Acquired:
    """A run of a data set that a test writes plane by plane."""

    def __init__(self, folder: Path) -> None:
        self.window, self.clock = Window(), Clock()
        self.acquisition = WindowAcquisition("store", "now", sentinel.store, folder, "mda_1")
        self.run = StudioRun(self.window, self.acquisition, run_id="run", clock=self.clock)  # type: ignore[arg-type]
        self.data_set: GrowingDataSet | None = None
        self._n_written = 0

    def write(self, n: int) -> None:
        """Let the window acquire further planes into the file."""
        assert self.acquisition.folder is not None
        self.data_set = self.data_set or GrowingDataSet(self.acquisition.folder, **WANTED)
        for t in range(self._n_written, self._n_written + n):
            self.data_set.add({"time": t}, PIXELS[t])
        self._n_written += n
        self.window.now = self.window.now._replace(n_images=self._n_written)

    def end(self) -> None:
        """Let the window close the acquisition."""
        self.window.now = self.window.now._replace(is_running=False, is_closed=True)

    def events(self, n_looks: int = 20, *, after_s: float = 0.0) -> list[SourceEvent]:
        """Return what comes of some looks, after some time; an end is the last of it."""
        self.clock.now += after_s
        found: list[SourceEvent] = []
        while n_looks and not (found and isinstance(found[-1], RunEnded)):
            found += [] if (event := self.run.step()) is None else [event]
            n_looks -= 1
        return found

    def frames(self, n_looks: int = 20) -> list[int]:
        """Return the planes that come."""
        return [event.index.t for event in self.events(n_looks) if isinstance(event, Frame)]

    def last(self, *, after_s: float) -> RunEnded:
        """Return the end that comes after some time."""
        *_, ended = self.events(1, after_s=after_s)
        assert isinstance(ended, RunEnded)
        return ended


@pytest.fixture
def acquired(tmp_path: Path) -> Iterator[Acquired]:
    opened = Acquired(tmp_path / "mda_1")
    yield opened
    opened.run.close()
    assert opened.window.released == [opened.acquisition]


def test_planes_come_as_they_are_written_and_the_last_planned_one_ends_the_run(acquired: Acquired) -> None:
    assert acquired.events() == [], "nothing is written yet"
    acquired.write(2)
    started, *frames = acquired.events()
    assert isinstance(started, RunStarted) and started.plan.n_planes == N_PLANES
    assert [event.index for event in frames if isinstance(event, Frame)] == [PlaneIndex(0), PlaneIndex(1)]
    assert all(np.array_equal(event.pixels, PIXELS[event.index.t]) for event in frames if isinstance(event, Frame))
    assert acquired.events(1, after_s=1.0) == [StillAcquiring()], "open volumes wait for the rest"
    acquired.write(4)
    *frames, ended = acquired.events()
    assert len(frames) == 4 and ended == RunEnded("finished", n_delivered=N_PLANES)


@pytest.mark.parametrize(
    ("n_planes", "n_images", "ended"),
    [
        (3, 3, RunEnded("aborted", f"it was ended in the window after 3 of {N_PLANES} planes", n_delivered=3)),
        (3, 5, RunEnded("failed", "3 of 5 images of the acquisition could be read", n_delivered=3)),
    ],
    ids=["stopped by a person", "images that never reached the file"],
)
def test_an_acquisition_that_is_closed_ends_by_what_could_be_read(
    acquired: Acquired, n_planes: int, n_images: int, ended: RunEnded
) -> None:
    acquired.write(n_planes)
    acquired.events()
    acquired.window.now = acquired.window.now._replace(n_images=n_images)
    acquired.end()
    if n_images > n_planes:
        assert acquired.events(1, after_s=9.0) == [], "they may still be on their way to the disk"
    assert acquired.last(after_s=2.0) == ended


def test_an_acquisition_without_an_image_is_said(acquired: Acquired) -> None:
    acquired.end()
    assert acquired.last(after_s=1.0) == RunEnded("failed", "the acquisition ended without an image")


def test_a_window_that_is_silent_for_a_while_costs_no_plane(acquired: Acquired) -> None:
    acquired.write(1)
    acquired.events()
    acquired.window.is_silent = True
    assert acquired.events(1, after_s=1.0) == [] and acquired.window.n_lost == 1
    acquired.write(2)
    acquired.window.now = acquired.window.now._replace(n_images=3)
    assert acquired.frames() == [1, 2], "from the file, without an answer"
    assert acquired.events(1, after_s=50.0) == []
    acquired.window.is_silent = False
    acquired.write(3)
    assert [type(event) for event in acquired.events()] == [Frame, Frame, Frame, RunEnded]


@pytest.mark.parametrize(
    ("is_gone", "after_s", "says"),
    [(True, 6.0, "Micro-Manager has ended"), (False, 61.0, "Micro-Manager did not answer for 61 s")],
)
def test_a_window_that_ended_or_stays_silent_ends_the_run_behind_the_last_plane_of_the_file(
    acquired: Acquired, is_gone: bool, after_s: float, says: str
) -> None:
    acquired.write(1)
    acquired.events()
    acquired.window.is_silent, acquired.window.is_gone = True, is_gone
    acquired.events(1, after_s=1.0)
    acquired.write(2)
    *frames, ended = acquired.events(4, after_s=after_s)
    assert [event.index.t for event in frames if isinstance(event, Frame)] == [1, 2]
    assert ended == RunEnded("failed", f"{says}; 3 of {N_PLANES} planes came", n_delivered=3)


def test_a_window_that_was_started_anew_has_dropped_the_acquisition(acquired: Acquired) -> None:
    acquired.write(1)
    acquired.events()
    acquired.window.is_silent = True
    acquired.events(1, after_s=1.0)
    acquired.window.is_silent, acquired.window.is_another = False, True
    assert acquired.events(1, after_s=5.0) == []
    ended = acquired.last(after_s=6.0)
    assert ended.detail.startswith("Micro-Manager was started anew, or has dropped the acquisition")


@java
@pytest.mark.parametrize("saved", ["ND_TIFF", "MULTIPAGE_TIFF", "SINGLEPLANE_TIFF_SERIES"])
def test_a_saved_acquisition_is_read_from_its_files(
    driver: WindowDriver, run: Came, tmp_path: Path, saved: Saved
) -> None:
    store = driver.acquire(saved, tmp_path, (3, 4))
    run.until()
    driver.wait_closed(store)
    assert run.ended == RunEnded("finished", n_delivered=12)
    assert run.started is not None
    assert run.started.summary["format"] in ("NDTiff", "image stack file", "separate image files")
    (data_set,) = tmp_path.iterdir()
    driver.wait_for(lambda: is_closed(data_set))
    assert run.planes == checksums(data_set)


@java
@pytest.mark.parametrize("saved", ["RAM", "ND_TIFF"])
def test_who_comes_in_the_middle_gets_every_plane_from_the_first_on(
    window_port: int, driver: WindowDriver, tmp_path: Path, saved: Saved
) -> None:
    store = driver.acquire(saved, None if saved == "RAM" else tmp_path, (500, 4), interval_ms=100.0)
    driver.wait_for_images(store, 5)
    driver.pause(True)  # it can't end before we come, on any machine
    with closing(StudioSource(StudioConfig(port=window_port), run_id="run")) as source:
        run = Came(source)
        run.until(5)
        driver.pause(False)
        run.until(driver.n_images(store) + 1)
        driver.halt()
        run.until()
    driver.wait_closed(store)
    n = driver.n_images(store)
    assert run.ended is not None
    assert f"after {n} of 2000 planes" in run.ended.detail
    assert set(run.planes) == {PlaneIndex(i // 4, 0, 0, i % 4) for i in range(n)}
    assert len(set(run.planes.values())) == n
