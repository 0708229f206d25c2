"""What is acquired in the window of a real Micro-Manager comes as runs, plane by plane as it is there."""

from __future__ import annotations

import logging
import os
import signal
import threading
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

from care_live.config import AcquisitionConfig, Channel, MicroManagerConfig, StudioConfig
from care_live.daemon.run import Daemon
from care_live.daemon.run_metrics import DaemonStatus
from care_live.errors import SourceError, StoreError
from care_live.images import Frame, PlaneIndex, RunEnded, RunStarted, VolumeKey
from care_live.recorded import open_recording
from care_live.source.java_bridge import JavaBridge, JavaCall, JavaError, JavaObject
from care_live.source.studio import StudioSource
from care_live.source.studio_acquisitions import NamesAcquisitions, StudioAcquisitions
from care_live.source.studio_images import count
from care_live.store import RunReader
from tests.make.runs import config
from tests.source import test_micromanager as micromanager
from tests.source.java_program import java_processes
from tests.source.window_driver import Saved, WindowChannel, WindowDriver

pytestmark = [pytest.mark.java, pytest.mark.slow, pytest.mark.timeout(900)]

_LOOKS = 1200
"""Tenths of a second."""


@dataclass
class Came:
    """One run, as far as it came."""

    source: StudioSource
    started: RunStarted | None = None
    planes: dict[PlaneIndex, int] = field(default_factory=dict)
    ended: RunEnded | None = None

    def until(self, n_planes: int | None = None) -> None:
        """Take events until that many planes came, or to the end."""
        for _ in range(_LOOKS):
            event = self.source.next_event(0.1)
            if isinstance(event, RunStarted):
                self.started = event
            elif isinstance(event, Frame):
                assert event.index not in self.planes
                self.planes[event.index] = zlib.crc32(event.pixels.tobytes())
            elif isinstance(event, RunEnded):
                self.ended = event
            if self.ended or (n_planes is not None and len(self.planes) >= n_planes):
                return
        pytest.fail(f"no end: {len(self.planes)} planes came")


class Restarted(NamedTuple):
    """What a source gave that was there before Micro-Manager, of one that was killed and of the next one."""

    port: int
    killed: Came
    following: Came
    said: str


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restarted]:
    """Kill a Micro-Manager in an acquisition, and start the one that all tests share."""
    folder, log = tmp_path_factory.mktemp("micro-manager"), StringIO()
    handler, logger = logging.StreamHandler(log), logging.getLogger("care_live.source")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        with java_processes() as start, closing(StudioSource(StudioConfig(), run_id="run")) as source:
            killed, following = Came(source), Came(source)
            with start(folder / "first") as (port, process):
                assert source.seen.wait(60)
                with closing(WindowDriver(port)) as driver:
                    driver.acquire("RAM", None, (500, 4), interval_ms=100.0)
                    killed.until(6)
                os.killpg(process.pid, signal.SIGKILL)
                killed.until()
            with start(folder / "second") as (port, _):
                with closing(WindowDriver(port)) as driver:
                    driver.acquire("RAM", None, (1, 3))
                    following.until()
                source.close()
                yield Restarted(port, killed, following, log.getvalue())
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


@pytest.fixture
def port(restarted: Restarted) -> int:
    return restarted.port


@pytest.fixture
def driver(port: int) -> Iterator[WindowDriver]:
    """A window in which nothing runs: an acquisition of the test before, all there but not ended, would come again."""
    with closing(WindowDriver(port)) as found:
        assert found.is_idle()
        found.camera(128)
        yield found


@pytest.fixture
def run(port: int) -> Iterator[Came]:
    """The next acquisition."""
    with closing(StudioSource(StudioConfig(port=port), run_id="run")) as source:
        assert source.seen.wait(60)
        yield Came(source)


def checksums(data_set: Path) -> dict[PlaneIndex, int]:
    with closing(open_recording(data_set)) as recording:
        return {index: zlib.crc32(recording.read_plane(index).tobytes()) for index in recording.contents.order}


def test_a_micro_manager_that_ends_or_starts_later_is_said_and_survived(restarted: Restarted) -> None:
    assert "waiting for Micro-Manager: nothing listens on port 4827" in restarted.said
    assert restarted.killed.ended is not None
    assert restarted.killed.ended.reason == "failed"
    n = len(restarted.killed.planes)
    assert restarted.killed.ended.detail == f"Micro-Manager has ended; {n} of 2000 planes came"
    assert restarted.following.ended == RunEnded("finished", n_delivered=3)
    assert restarted.following.started is not None
    assert restarted.following.started.run_id == "run-2"


def is_closed(data_set: Path) -> bool:
    """Micro-Manager says that it has ended an acquisition before it cuts the files to their length."""
    try:
        return bool(checksums(data_set))
    except SourceError:
        return False


def test_calls_that_are_sent_together_stay_in_step_where_one_fails(port: int) -> None:
    with closing(JavaBridge(port)) as bridge:
        studio = bridge.open()
        with bridge.lent(studio, "data") as data:
            number = JavaCall(studio, "hashCode")
            once = bridge.calls(number, JavaCall(data, "hashCode"))
            assert once[0] != once[1]
            place = JavaCall(data, "createCoords", ["z=3"], ["java.lang.String"])
            unreadable = JavaCall(data, "createCoords", ["z"], ["java.lang.String"])
            with pytest.raises(JavaError, match="Micro-Manager"):
                bridge.calls(number, place, unreadable, number)
            made, again = bridge.calls(place, number)
            assert again == once[0]
            assert isinstance(made, JavaObject)
            assert bridge.calls(JavaCall(made, "getZ"), release=[made]) == [3]
            with pytest.raises(JavaError):  # it was released
                bridge.call(made, "getZ")
            assert bridge.call(studio, "hashCode") == once[0]


def test_an_acquisition_in_memory_comes_whole(driver: WindowDriver, run: Came, tmp_path: Path) -> None:
    """Two positions, two channels; one channel skips every second time point and has only its middle plane."""
    driver.mark_positions("worm-a", "worm-b")
    channels = [WindowChannel("DAPI"), WindowChannel("FITC", skip=1, is_stack=False)]
    store = driver.acquire("RAM", None, (2, 3), channels=channels, positions=True)
    run.until()
    driver.wait_closed(store)
    n = driver.n_images(store)
    assert run.ended == RunEnded("finished", n_delivered=n), run.planes.keys()
    assert run.started is not None
    assert run.started.plan.n_planes == n
    assert (run.started.plan.positions, run.started.plan.channels) == (("worm-a", "worm-b"), ("DAPI", "FITC"))
    assert run.started.plan.stacks[VolumeKey(0, 1, 0)] == (0, 1, 2)
    assert run.started.plan.stacks[VolumeKey(0, 1, 1)] == (1,)
    assert VolumeKey(1, 0, 1) not in run.started.plan.stacks
    driver.save(store, tmp_path / "saved")
    assert run.planes == checksums(tmp_path / "saved")
    assert len(set(run.planes.values())) == n, "the camera repeats itself"


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


@pytest.mark.parametrize("saved", ["RAM", "ND_TIFF"])
def test_who_comes_in_the_middle_gets_every_plane_from_the_first_on(
    port: int, driver: WindowDriver, tmp_path: Path, saved: Saved
) -> None:
    store = driver.acquire(saved, None if saved == "RAM" else tmp_path, (500, 4), interval_ms=100.0)
    driver.wait_for_images(store, 5)
    driver.pause(True)  # it can't end before we come, on any machine
    with closing(StudioSource(StudioConfig(port=port), run_id="run")) as source:
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


def test_pauses_and_stops_are_said_and_the_next_acquisition_is_the_next_run(
    driver: WindowDriver, run: Came, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store = driver.acquire("RAM", None, (500, 4), interval_ms=200.0)  # longer than any machine needs for the pause
    run.until(6)
    driver.pause(True)
    driver.wait_for(lambda: run.source.next_event(0.1) is not None and "acquisition paused" in caplog.text)
    driver.pause(False)
    driver.wait_for(lambda: run.source.next_event(0.1) is not None and "acquisition goes on" in caplog.text)
    driver.halt()
    run.until()
    driver.wait_closed(store)
    assert run.ended is not None
    assert run.ended.reason == "aborted"
    assert f"after {driver.n_images(store)} of 2000 planes" in run.ended.detail
    following = Came(run.source)
    driver.wait_closed(driver.acquire("RAM", None, (1, 3)))
    driver.wait_closed(driver.acquire("RAM", None, (1, 4)))
    following.until()
    assert following.ended == RunEnded("finished", n_delivered=3)
    last = Came(run.source)
    last.until()
    assert last.ended == RunEnded("finished", n_delivered=4)
    assert [one.started and one.started.run_id for one in (run, following, last)] == ["run", "run-2", "run-3"]


@pytest.fixture
def bridge(port: int) -> Iterator[JavaBridge]:
    """One client more; it looks for acquisitions only when a test wants it to."""
    with closing(JavaBridge(port, answer_s=60.0)) as bridge:
        yield bridge


@pytest.fixture
def at(bridge: JavaBridge) -> NamesAcquisitions:
    studio = bridge.open()
    return NamesAcquisitions(bridge.get(studio, "getAcquisitionEngine"), bridge.get(studio, "displays"))


def acquire(driver: WindowDriver, n_planes: int, folder: Path | None = None, *, shown: bool = True) -> None:
    driver.wait_closed(driver.acquire("ND_TIFF" if folder else "RAM", folder, (1, n_planes), shown=shown))


def test_acquisitions_between_two_looks_are_found_and_opened_data_are_not(
    bridge: JavaBridge, driver: WindowDriver, at: NamesAcquisitions, tmp_path: Path
) -> None:
    acquire(driver, 6, tmp_path)
    acquisitions = StudioAcquisitions(bridge)
    acquisitions.new(at)
    for n_planes in (3, 4):
        acquire(driver, n_planes)
    driver.show_saved(tmp_path / "mda_1")
    found = acquisitions.new(at)
    assert [count(bridge, one.store) for one in found] == [3, 4]
    assert acquisitions.new(at) == []
    store = acquisitions.find(at, found[1])
    assert store is not None
    assert count(bridge, store) == 4


def test_an_acquisition_without_a_window_that_was_missed_is_named(
    bridge: JavaBridge, driver: WindowDriver, at: NamesAcquisitions, tmp_path: Path
) -> None:
    acquisitions = StudioAcquisitions(bridge)
    acquisitions.new(at)
    acquire(driver, 3, tmp_path, shown=False)
    assert [(one.title, one.missed) for one in acquisitions.new(at)] == [("mda_1", ())]
    acquire(driver, 4, tmp_path, shown=False)
    acquire(driver, 5, tmp_path, shown=False)
    assert [(one.title, one.missed) for one in acquisitions.new(at)] == [("mda_3", ("mda_2",))]


def test_an_acquisition_over_the_server_is_refused_while_live_is_on(driver: WindowDriver, port: int) -> None:
    wanted = AcquisitionConfig(time_points=1, z_planes=2, channels=(Channel(exposure_ms=2.0),))
    over_server = MicroManagerConfig(backend="java", port=port, acquisition=wanted)
    driver.live(True)
    try:
        driver.live_number()
        (refused,) = micromanager.acquire(over_server)
    finally:
        driver.live(False)
    assert isinstance(refused, RunEnded)
    assert refused.reason == "failed" and "switch Live off in its window" in refused.detail
    assert micromanager.acquire(over_server)[-1] == RunEnded("finished", n_delivered=2)


def test_live_and_snaps_of_the_window_are_shown(driver: WindowDriver, port: int) -> None:
    with closing(StudioSource(StudioConfig(port=port), run_id="run")) as source:
        assert source.seen.wait(60)
        assert source.live.take(1.0) is None, "nothing is shown yet"
        driver.live(True)
        try:
            frames = [source.live.take(60) for _ in range(5)]
        finally:
            driver.live(False)
        numbers = [frame.number for frame in frames if frame]
        assert len(numbers) == 5
        assert numbers == sorted(set(numbers))
        assert len({frame.pixels.tobytes() for frame in frames if frame}) == 5
        assert frames[0] is not None
        assert (frames[0].pixels.shape, frames[0].conditions.exposure_ms) == ((128, 128), 2.0)
        while (frame := source.live.take(2.0)) is not None:
            assert not frame.conditions.snapped
        driver.snap()
        snapped = source.live.take(60)
    assert snapped is not None
    assert snapped.conditions.snapped
    assert snapped.pixels.tobytes() not in {frame.pixels.tobytes() for frame in frames if frame}


def test_a_daemon_stores_one_acquisition_after_the_other(
    driver: WindowDriver, port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    daemon = Daemon(config(tmp_path, {"kind": "studio", "port": port}), "evening")
    ended: list[DaemonStatus] = []
    thread = threading.Thread(target=lambda: ended.append(daemon.run()))
    thread.start()
    try:
        driver.wait_for(lambda: "what its window acquires is restored" in caplog.text)
        stores = [driver.acquire("RAM", None, (2, n_planes)) for n_planes in (4, 5) if driver.is_idle()]
        driver.wait_for(lambda: stored(tmp_path / "runs" / "evening-2") == 2)
    finally:
        daemon.drain()
        thread.join(120)
    assert [status.phase for status in ended] == ["finished"]
    for name, store in zip(("evening", "evening-2"), stores, strict=True):
        driver.save(store, tmp_path / name)
        assert checksums(tmp_path / "runs" / name) == checksums(tmp_path / name)
        assert len(RunReader(tmp_path / "runs" / name).keys("restored")) == 2


def stored(run: Path) -> int:
    """Return how many restored volumes a run has."""
    try:
        return len(RunReader(run).keys("restored"))
    except StoreError:
        return 0
