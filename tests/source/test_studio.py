"""What is acquired in the window of a real Micro-Manager comes as runs, plane by plane as it is there."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

from care_live.config import AcquisitionConfig, Channel, MicroManagerConfig, StudioConfig
from care_live.daemon.run import Daemon
from care_live.daemon.run_metrics import DaemonStatus
from care_live.errors import StoreError
from care_live.images import RunEnded
from care_live.source.java_bridge import JavaBridge, JavaCall, JavaError, JavaObject
from care_live.source.studio import StudioSource
from care_live.store import RunReader
from tests.make.runs import config
from tests.source import test_micromanager as micromanager
from tests.source.java_program import java_processes
from tests.source.window_driver import WindowDriver
from tests.source.window_runs import Came, checksums

pytestmark = [pytest.mark.java, pytest.mark.slow, pytest.mark.timeout(900)]


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


@pytest.fixture(scope="module")
def window_port(restarted: Restarted) -> int:
    return restarted.port


def test_a_micro_manager_that_ends_or_starts_later_is_said_and_survived(restarted: Restarted) -> None:
    assert "waiting for Micro-Manager: nothing listens on port 4827" in restarted.said
    assert restarted.killed.ended is not None
    assert restarted.killed.ended.reason == "failed"
    n = len(restarted.killed.planes)
    assert restarted.killed.ended.detail == f"Micro-Manager has ended; {n} of 2000 planes came"
    assert restarted.following.ended == RunEnded("finished", n_delivered=3)
    assert restarted.following.started is not None
    assert restarted.following.started.run_id == "run-2"


def test_calls_that_are_sent_together_stay_in_step_where_one_fails(window_port: int) -> None:
    with closing(JavaBridge(window_port)) as bridge:
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


def test_an_acquisition_over_the_server_is_refused_while_live_is_on(driver: WindowDriver, window_port: int) -> None:
    wanted = AcquisitionConfig(time_points=1, z_planes=2, channels=(Channel(exposure_ms=2.0),))
    over_server = MicroManagerConfig(backend="java", port=window_port, acquisition=wanted)
    driver.live(True)
    try:
        driver.live_number()
        (refused,) = micromanager.acquire(over_server)
    finally:
        driver.live(False)
    assert isinstance(refused, RunEnded)
    assert refused.reason == "failed" and "switch Live off in its window" in refused.detail
    assert micromanager.acquire(over_server)[-1] == RunEnded("finished", n_delivered=2)


def test_a_daemon_stores_one_acquisition_after_the_other(
    driver: WindowDriver, window_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    daemon = Daemon(config(tmp_path, {"kind": "studio", "port": window_port}), "evening")
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
