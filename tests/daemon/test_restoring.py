"""The restoring stage goes on without a worker that is lost."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest

from care_live.daemon import restoring
from care_live.errors import WorkerLostError
from care_live.images import Restored, Volume
from care_live.worker import inference_server
from care_live.worker.client import RestoreProcess
from tests.make.checked_run import check_raw
from tests.make.runs import config, movie, replay, run

pytestmark = [pytest.mark.slow]


N_TIMES = 10


def die(*_: object) -> None:
    """Stand for an inference process that has lost its driver."""
    os._exit(3)


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


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_inference_that_never_starts_again_leaves_the_run_with_raw_volumes(tmp_path, monkeypatch):
    """It is killed for good: every child that comes after the first one dies at once."""
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    monkeypatch.setattr(restoring, "LONGEST_REST_S", 0.2)

    restore = RestoreProcess.restore

    def restore_and_kill(process, volumes, **others):
        restored = restore(process, volumes, **others)
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
