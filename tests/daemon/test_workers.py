"""Several workers restore one run: as one would, in the same order, and whichever of them is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter

import pytest

from care_live.daemon import run as daemon_run
from care_live.daemon.run import Daemon
from care_live.errors import WorkerLostError
from care_live.images import VolumeKey
from care_live.store import RunReader
from care_live.worker.client import RestoreProcess
from care_live.worker.supervisor import InferenceSupervisor
from tests.make.by_workers import N_TIMES, SHAPE, equal, order_of
from tests.make.networks import save_network
from tests.make.remote_links import FIXED
from tests.make.runs import config, replay, run
from tests.make.scripted import Script, Scripted, frames, plan, scripted_daemon, started

pytestmark = pytest.mark.slow

WAIT_S = 60.0


def test_two_workers_make_what_one_makes_and_keep_the_order(tmp_path, film, by_one):
    status = run(
        config(tmp_path, replay(film), restore={"policy": "wait", "streaming": "off", "provider": "cpu", "workers": 2})
    )
    assert (status.restored, status.skipped, status.failed) == (N_TIMES, 0, 0)
    assert order_of(tmp_path) == list(range(N_TIMES))
    assert sum(worker["restored"] for worker in status.workers) == N_TIMES
    assert all(worker["restored"] for worker in status.workers), status.workers
    equal(tmp_path, by_one, rtol=0)


def test_workers_stream_volumes_in_turn(tmp_path, monkeypatch):
    """The range is known from the first plane on, so that every volume may be streamed, each worker's own."""
    ranges = {"mode": "fixed", "low_counts": 90, "high_counts": 900}
    keys = [VolumeKey(t) for t in range(N_TIMES)]

    def script(of: list[Daemon]) -> Script:
        """Give a volume once the one before is restored: then no worker is busy."""
        yield started(plan(keys, SHAPE))
        for key in keys:
            yield from frames(key, shape=SHAPE)
            while of[0].status().restored <= key.t:
                yield None

    for name, workers in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        restore = {"streaming": "on", "normalise": ranges, "workers": workers}
        daemons: list[Daemon] = []
        daemon, _ = scripted_daemon(tmp_path / name, Scripted(script(daemons)), monkeypatch, restore=restore)
        daemons.append(daemon)
        status = daemon.run()
        assert (status.restored, status.failed) == (N_TIMES, 0)
    assert all(worker["restored"] for worker in status.workers), status.workers
    assert order_of(tmp_path / "two") == list(range(N_TIMES))
    equal(tmp_path / "two", RunReader(tmp_path / "one" / "runs" / "test"), rtol=2**-9, atol=0.5)
    choices = [RunReader(tmp_path / "two/runs/test").restoration(key).choice for key in keys]
    assert sum(choice is not None and choice.kind == "stream" for choice in choices) > N_TIMES // 2


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_worker_loses_nothing(tmp_path, film, by_one):
    """Its volume is restored by the other one, in its place: no failure is counted, and nothing is late."""
    killed = threading.Event()

    def kill_soon(daemon: Daemon) -> None:
        def act() -> None:
            while not killed.wait(0.02):
                if daemon.status().restored > 2:
                    os.kill(daemon.inference_process_ids[1], signal.SIGKILL)
                    return

        thread.append(threading.Thread(target=act))
        thread[0].start()

    thread: list[threading.Thread] = []
    settings = config(tmp_path, replay(film, speed=20.0), restore={"policy": "wait", "workers": 2})
    status = run(settings, meanwhile=kill_soon)
    killed.set()
    thread[0].join(WAIT_S)
    assert (status.restored, status.failed, status.restored_late, status.unrestored) == (N_TIMES, 0, 0, 0)
    assert order_of(tmp_path) == list(range(N_TIMES))
    equal(tmp_path, by_one, rtol=2**-9, atol=0.5)


def test_a_volume_moves_to_a_worker_that_is_as_far_ahead_as_it_may_be(tmp_path, film, by_one, monkeypatch):
    """The first worker loses its volume only then, and has no machine any more: else its next one would take it."""
    n_ahead, ahead, lost = 4, threading.Event(), set()
    restore, absent = RestoreProcess.restore, InferenceSupervisor.is_absent
    n_restored: Counter[RestoreProcess] = Counter()

    def restore_or_lose(worker, volumes, **others):
        if volumes[0].key == VolumeKey(0) and not lost:
            lost.add(worker.supervisor)
            assert ahead.wait(WAIT_S), "the other one was held up early"
            raise WorkerLostError("killed")
        restored = restore(worker, volumes, **others)
        n_restored[worker] += 1
        if n_restored[worker] == n_ahead:
            ahead.set()
        return restored

    monkeypatch.setattr(RestoreProcess, "restore", restore_or_lose)
    monkeypatch.setattr(InferenceSupervisor, "is_absent", property(lambda one: one in lost or absent.fget(one)))
    workers = {"policy": "wait", "streaming": "off", "provider": "cpu", "workers": 2, "normalise": FIXED}
    status = run(config(tmp_path, replay(film), restore=workers))
    assert (status.restored, status.failed, status.restored_late) == (N_TIMES, 0, 0)
    assert order_of(tmp_path) == list(range(N_TIMES))
    assert sum(n_restored.values()) == max(n_restored.values()) == N_TIMES


def test_two_workers_change_to_another_network_before_the_same_volume(tmp_path, monkeypatch):
    """Volumes come as they are taken, until the new network has restored some."""
    keys, n_new = [VolumeKey(t) for t in range(3000)], 8
    daemons: list[Daemon] = []

    def script() -> Script:
        yield started(plan(keys, (4, 16, 16)))
        changed_at = None
        for key in keys:
            yield from frames(key, shape=(4, 16, 16))
            yield from [None] * 10  # the networks that load have time
            status = daemons[0].status()
            if key.t == 4:
                daemons[0].swap({"model": str(other), "even_if_slow": True})
            changed_at = key.t if changed_at is None and status.swap.startswith("took over") else changed_at
            if changed_at is not None and key.t == changed_at + n_new:
                return

    other = save_network(tmp_path / "other.onnx", filters=2, seed=5)
    restore = {"policy": "wait", "streaming": "off", "provider": "cpu", "workers": 2}
    monkeypatch.setattr(daemon_run, "open_remaining", lambda *_: Scripted(script()))
    daemons.append(Daemon(config(tmp_path, replay(tmp_path / "scripted"), restore=restore), "test"))
    status = daemons[0].run()
    assert (status.failed, status.skipped) == (0, 0)
    reader = RunReader(tmp_path / "runs/test")
    order = order_of(tmp_path)
    assert order == sorted(order)
    names = [reader.restoration(VolumeKey(t)).model.name for t in order]
    assert set(names) == {"tiny", "other"}
    assert names == sorted(names, reverse=True)
    assert [model.name for model in reader.models] == ["tiny", "other"]
