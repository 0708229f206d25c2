"""No failure of publishing, viewing or restoring reaches the acquisition: real parts, made to fail."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from care_live.daemon import restoring
from care_live.daemon.policy import Schedule
from care_live.errors import WorkerLostError
from care_live.images import Restored, Volume, VolumeKey
from care_live.publish.broadcast import Broadcast
from care_live.publish.publisher import Publisher
from care_live.publish.router import Router
from care_live.store import RunReader, verify
from care_live.worker import inference_server
from care_live.worker.arrivals import Arrivals
from care_live.worker.client import RestoreProcess
from care_live.worker.supervisor import InferenceSupervisor
from tests.make.runs import command, config, movie, replay, run, settings
from tests.test_cli import toml

pytestmark = [pytest.mark.slow]
N_TIMES = 10


def fail(*_: object, **__: object) -> None:
    raise OSError("Too many open files")


def die(*_: object) -> None:
    """Stand for an inference process that has lost its driver."""
    os._exit(3)


def check_raw(folder: Path, pixels: object) -> RunReader:
    """Check that every raw volume is stored as it was recorded."""
    reader = RunReader(folder / "runs" / "test")
    assert reader.keys("raw") == [VolumeKey(t) for t in range(N_TIMES)]
    assert all((reader.read("raw", key) == pixels[key.t]).all() for key in reader.keys("raw"))
    assert verify(folder / "runs" / "test").clean
    return reader


@pytest.mark.parametrize("call", ["start", "publish", "skipped", "heartbeat", "end", "describe_networks", "settle"])
def test_a_publisher_that_raises_costs_no_volume(tmp_path, monkeypatch, call):
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    monkeypatch.setattr(Publisher, call, fail)
    status = run(config(tmp_path, replay(tmp_path / "movie.tif", speed=200.0)))
    reader = check_raw(tmp_path, pixels)
    assert reader.keys("restored") == reader.keys("raw")
    if call != "skipped":  # not called where the machine keeps up
        assert status.faults["publishing"] > 0
        assert "Too many open files" in status.shortfalls[0]


def test_messages_that_cannot_be_sent_cost_no_volume(tmp_path, monkeypatch):
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    monkeypatch.setattr(Broadcast, "volume", fail)
    status = run(config(tmp_path, replay(tmp_path / "movie.tif", speed=200.0)))
    reader = check_raw(tmp_path, pixels)
    assert reader.keys("restored") == reader.keys("raw")
    assert any("could not be published" in line for line in status.shortfalls)


def test_a_publishing_thread_that_dies_costs_no_volume(tmp_path, monkeypatch):
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    monkeypatch.setattr(Router, "serve", fail)
    status = run(config(tmp_path, replay(tmp_path / "movie.tif", speed=200.0)))
    reader = check_raw(tmp_path, pixels)
    assert reader.keys("restored") == reader.keys("raw")
    assert any("publishing has failed (Too many open files)" in line for line in status.shortfalls)


@pytest.mark.parametrize(
    ("part", "call"),
    [
        (Arrivals, "begin"),
        (Arrivals, "place"),
        (Arrivals, "restored_planes"),
        (RestoreProcess, "watch"),
        (InferenceSupervisor, "warm_up"),
        (RestoreProcess, "learn"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_restorer_that_raises_costs_no_volume(tmp_path, monkeypatch, part, call):
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    monkeypatch.setattr(part, call, fail)
    status = run(config(tmp_path, replay(tmp_path / "movie.tif", speed=200.0)))
    reader = check_raw(tmp_path, pixels)
    assert reader.keys("restored") == reader.keys("raw")
    assert status.faults["restoring"] > 0


def test_inference_that_raises_anything_costs_no_raw_volume(tmp_path, monkeypatch):
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    monkeypatch.setattr(RestoreProcess, "restore", fail)
    status = run(config(tmp_path, replay(tmp_path / "movie.tif", speed=200.0)))
    reader = check_raw(tmp_path, pixels)
    assert (reader.keys("restored"), status.unrestored) == ([], N_TIMES)
    assert "10 volumes could not be restored" in status.shortfalls


@pytest.mark.parametrize(("n_losses", "is_restored"), [(5, True), (10**6, False)])
def test_a_volume_whose_worker_is_lost_each_time_is_tried_last_once_more(tmp_path, monkeypatch, n_losses, is_restored):
    """Chance may take the worker under one volume several times; one that always takes it is given up."""
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    order: list[int] = []
    restore = RestoreProcess.restore

    def lose(self: RestoreProcess, volumes: tuple[Volume, ...], *more: Any, **others: Any) -> tuple[Restored, ...]:
        order.append(volumes[0].key.t)
        if order[-1] == 1 and order.count(1) <= n_losses:
            raise WorkerLostError("killed")
        return restore(self, volumes, *more, **others)

    monkeypatch.setattr(RestoreProcess, "restore", lose)
    status = run(config(tmp_path, replay(tmp_path / "movie.tif", speed=200.0), restore={"policy": "wait"}))
    reader = check_raw(tmp_path, pixels)
    assert [key.t for key in reader.keys("restored")] == [t for t in range(N_TIMES) if t != 1 or is_restored]
    assert (order.count(1), status.unrestored) == (6, 0 if is_restored else 1)
    assert order[-3:] == [1, 1, 1], "after all others"


def test_a_restoring_stage_that_dies_leaves_the_run_with_raw_volumes(tmp_path, monkeypatch):
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    monkeypatch.setattr(Schedule, "next", fail)
    status = run(config(tmp_path, replay(tmp_path / "movie.tif", speed=200.0)))
    check_raw(tmp_path, pixels)
    assert status.phase == "finished"
    assert status.shortfalls == ("restoring failed: OSError: Too many open files; the run goes on with raw volumes",)
    assert status.skipped >= N_TIMES - 1


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_inference_that_never_starts_again_leaves_the_run_with_raw_volumes(tmp_path, monkeypatch):
    """It is killed for good: every child that comes after the first one dies at once."""
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    monkeypatch.setattr(restoring, "LONGEST_REST_S", 0.2)

    restore = RestoreProcess.restore

    def restore_and_kill(process, volumes):
        restored = restore(process, volumes)
        monkeypatch.setattr(inference_server, "main", die)
        os.kill(process.supervisor.process_id, signal.SIGKILL)
        return restored

    monkeypatch.setattr(RestoreProcess, "restore", restore_and_kill)
    status = run(config(tmp_path, replay(tmp_path / "movie.tif", speed=40.0)))
    check_raw(tmp_path, pixels)
    assert status.phase == "finished"
    assert any("restoring failed: inference was lost" in line for line in status.shortfalls), status.shortfalls
    monkeypatch.undo()
    resumed = config(tmp_path, replay(tmp_path / "movie.tif"), restore={"policy": "wait"})
    again = run(resumed.model_copy(update={"resume": True}))
    assert again.shortfalls == ()
    reader = check_raw(tmp_path, pixels)
    assert reader.keys("restored") == reader.keys("raw")


def test_a_page_that_cannot_start_costs_no_volume(tmp_path):
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    tree = settings(tmp_path, replay(tmp_path / "movie.tif", speed=40.0), web={"bind": "256.0.0.1:5"})
    (tmp_path / "config.toml").write_text(toml(tree))
    done = command("run", "config.toml", "--run-id", "test", "-q", "--web", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the browser page did not start" in done.stderr
    check_raw(tmp_path, pixels)


def test_recorded_data_waits_for_a_slow_disk(tmp_path, monkeypatch):
    """Nothing is refused: the replay of recorded data can wait, which a camera cannot."""
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES, shape=(8, 128, 128))
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (time.sleep(0.025), sync(descriptor)))
    settings_ = config(
        tmp_path, replay(tmp_path / "movie.tif"), restore={"policy": "wait"}, assemble={"memory_mib": 1}
    )  # fmt: skip
    status = run(settings_)
    assert (status.refused_volumes, status.shortfalls) == (0, ())
    check_raw(tmp_path, pixels)
