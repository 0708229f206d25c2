"""No failure of publishing, viewing or restoring reaches the acquisition: real parts, made to fail."""

from __future__ import annotations

import os
import time

import pytest

from care_live.daemon.policy import Schedule
from care_live.publish.broadcast import Broadcast
from care_live.publish.publisher import Publisher
from care_live.publish.router import Router
from care_live.worker.arrivals import Arrivals
from care_live.worker.client import RestoreProcess
from care_live.worker.supervisor import InferenceSupervisor
from tests.make.checked_run import check_raw
from tests.make.runs import command, config, movie, replay, run, settings
from tests.test_cli import toml

pytestmark = [pytest.mark.slow]
N_TIMES = 10


def fail(*_: object, **__: object) -> None:
    raise OSError("Too many open files")


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


def test_a_restoring_stage_that_dies_leaves_the_run_with_raw_volumes(tmp_path, monkeypatch):
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    monkeypatch.setattr(Schedule, "next", fail)
    status = run(config(tmp_path, replay(tmp_path / "movie.tif", speed=200.0)))
    check_raw(tmp_path, pixels)
    assert status.phase == "finished"
    assert status.shortfalls == ("restoring failed: OSError: Too many open files; the run goes on with raw volumes",)
    assert status.skipped >= N_TIMES - 1


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
