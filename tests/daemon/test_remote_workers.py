"""Workers on other machines restore a run: as one on this machine would, in order, and whichever of them is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from care_live.config import Config, parse
from care_live.daemon import dask_scheduler, remote_workers
from care_live.daemon.dask_tasks import PlacedTasks
from care_live.daemon.doctor import Finding, examine
from care_live.daemon.remote_workers import RemoteWorkers
from care_live.daemon.run import Daemon
from care_live.daemon.run_metrics import DaemonStatus
from care_live.daemon.worker_group import WorkerGroup
from care_live.errors import RestoreError, StageError
from care_live.images import VolumeKey
from care_live.restore_config import RestoreConfig
from care_live.store import RunReader
from care_live.worker.client import RestoreProcess
from tests.faults.lab import FULL
from tests.make.by_workers import N_TIMES, RESTORE, equal, order_of
from tests.make.dask_cluster import WAIT_S, Cluster
from tests.make.networks import save_network
from tests.make.runs import config, replay, run
from tests.make.waiting import until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    yield found
    found.close()


def remote(folder: Path, film: Path, cluster: Cluster, *, workers: int, remote_workers: int) -> Config:
    there = {"scheduler": str(cluster.file), "workers": workers, "remote_workers": remote_workers}
    return config(folder, replay(film), restore={**RESTORE, **there, "remote_bind": "tcp://127.0.0.1:0"})


def is_at_work(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def check(folder: Path, status: DaemonStatus, by_one: RunReader) -> None:
    assert (status.restored, status.skipped, status.failed, status.unrestored) == (N_TIMES, 0, 0, 0)
    assert order_of(folder) == list(range(N_TIMES))
    equal(folder, by_one, rtol=0)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_workers_elsewhere_make_what_one_here_makes_though_one_is_killed(tmp_path, film, by_one, cluster):
    """All are elsewhere; one is killed as soon as a volume is restored, which is early in most runs."""
    processes: list[psutil.Process] = []

    def kill_soon(daemon: Daemon) -> None:
        def act() -> None:
            until(lambda: daemon.status().restored > 0, WAIT_S)
            for one in cluster.workers:
                processes.extend(psutil.Process(one.pid).children(recursive=True))
            cluster.workers[0].send_signal(signal.SIGKILL)

        thread.append(threading.Thread(target=act))
        thread[0].start()

    thread: list[threading.Thread] = []
    status = run(remote(tmp_path, film, cluster, workers=0, remote_workers=2), meanwhile=kill_soon)
    thread[0].join(WAIT_S)
    cluster.workers.append(cluster.add_worker(2))
    check(tmp_path, status, by_one)
    until(lambda: not any(map(is_at_work, processes)), WAIT_S)  # none outlives the run


@pytest.mark.slow
@pytest.mark.parametrize("streaming", ["on", "off"])
def test_a_worker_elsewhere_reads_the_earlier_time_points_that_one_here_reads(tmp_path, film, cluster, streaming):
    model = save_network(tmp_path / "past.onnx", past=2)
    normalise = {"mode": "fixed", "low_counts": 90, "high_counts": 900}
    here: dict[str, Any] = {**RESTORE, "model": str(model), "streaming": streaming, "normalise": normalise}
    elsewhere = {"scheduler": str(cluster.file), "workers": 0, "remote_workers": 1, "remote_bind": "tcp://127.0.0.1:0"}
    for name, restore in (("here", here), ("there", here | elsewhere)):
        (tmp_path / name).mkdir()
        run(config(tmp_path / name, replay(film), restore=restore))
    by_one_here, there = (RunReader(tmp_path / name / "runs" / "test") for name in ("here", "there"))
    equal(tmp_path / "there", by_one_here, rtol=0, atol=2**-8 * 810)
    assert there.restoration(VolumeKey(5)).earlier == (VolumeKey(4), VolumeKey(3))


@pytest.mark.slow
def test_a_run_needs_no_machine_but_its_own(tmp_path, film, by_one, cluster):
    """The scheduler does not answer; the worker on this machine restores everything."""
    settings = remote(tmp_path, film, cluster, workers=1, remote_workers=1)
    absent = settings.restore.model_copy(update={"scheduler": "tcp://127.0.0.1:1"})
    status = run(settings.model_copy(update={"restore": absent}))
    check(tmp_path, status, by_one)
    assert [worker["restored"] for worker in status.workers] == [N_TIMES, 0]


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="CARE_LIVE_FAULTS=full")
def test_workers_here_and_elsewhere_share_a_run(tmp_path, film, by_one, cluster):
    status = run(remote(tmp_path, film, cluster, workers=1, remote_workers=1))
    check(tmp_path, status, by_one)
    assert sum(worker["restored"] for worker in status.workers) == N_TIMES


def test_the_doctor_looks_at_the_scheduler_and_its_workers(cluster: Cluster, monkeypatch) -> None:
    def finding(scheduler: str, remote_workers: int) -> Finding:
        wanted = {"scheduler": scheduler, "remote_workers": remote_workers}
        return next(one for one in examine(parse({"restore": wanted}, origin="test")) if one.check == "scheduler")

    until(lambda: dask_scheduler.look(str(cluster.file)).n_workers > 1, WAIT_S)
    assert finding(str(cluster.file), 2).verdict == "good"
    assert "workers, 0 with" not in finding(str(cluster.file), 2).seen
    few = finding(str(cluster.file), 64)
    assert (few.verdict, "the run wants 64" in few.seen) == ("note", True)
    absent = finding("tcp://127.0.0.1:1", 1)
    assert (absent.verdict, "dask scheduler" in absent.advice) == ("bad", True)
    monkeypatch.setattr(dask_scheduler, "version_here", lambda _: "0")
    other = finding(str(cluster.file), 1)
    assert other.verdict == "bad"
    assert "of its workers, 0 here" in other.seen


def test_no_worker_at_all_is_said_at_the_start(tmp_path, film, cluster, monkeypatch):
    monkeypatch.setattr("care_live.worker.supervisor.START_S", 1.0)
    settings = remote(tmp_path, film, cluster, workers=0, remote_workers=1)
    absent = settings.restore.model_copy(update={"scheduler": "tcp://127.0.0.1:1"})
    with pytest.raises(RestoreError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        run(settings.model_copy(update={"restore": absent}))


@pytest.mark.slow
def test_workers_that_come_late_or_replace_a_lost_one_get_a_process_each(tmp_path, film) -> None:
    cluster = Cluster(tmp_path, n_workers=0)
    ours = RemoteWorkers(remote(tmp_path, film, cluster, workers=1, remote_workers=2).restore)
    ours.start()
    try:
        until(lambda: "has come yet" in ours.problem, WAIT_S)
        cluster.workers += [cluster.add_worker(n) for n in range(2)]
        until(lambda: all(map(has_process, cluster.workers)), WAIT_S)
        cluster.workers[0].kill()
        cluster.workers[0].wait(WAIT_S)
        cluster.workers[0] = cluster.add_worker(2)
        until(lambda: has_process(cluster.workers[0]), WAIT_S)
    finally:
        ours.close()
        cluster.close()


@pytest.mark.slow
def test_two_daemons_that_ask_at_the_same_moment_get_a_worker_each(tmp_path: Path) -> None:
    """The second one sees nothing of the first one's task, as where both look before either has given it."""
    cluster = Cluster(tmp_path)
    try:
        with dask_scheduler.client_of(str(cluster.file)) as one, dask_scheduler.client_of(str(cluster.file)) as other:
            one.wait_for_workers(2, timeout=WAIT_S)
            first, second = (PlacedTasks(client, time.sleep, 3600) for client in (one, other))
            first.reach(1)
            with pytest.MonkeyPatch.context() as moment:
                moment.setattr(other, "processing", dict)
                second.reach(1)
            (place,) = {place for place, tasks in one.processing().items() if tasks}
            until(lambda: one.call_stack().get(place), WAIT_S)
            until(lambda: not second.reach(1) and not first.reach(1) and len(running(one)) == 2, WAIT_S)
            assert all(len(tasks) == 1 for tasks in one.processing().values())
            third = PlacedTasks(one, time.sleep, 3600)
            third.reach(1)
            assert (len(third), third.lacks) == (0, "the workers are busy: 2 with other runs")
    finally:
        cluster.close()


def running(client: Any) -> list[str]:
    return [key for tasks in client.call_stack().values() for key in tasks]


def has_process(worker: subprocess.Popen[bytes]) -> bool:
    return bool(psutil.Process(worker.pid).children())


@pytest.mark.slow
def test_workers_that_end_again_and_again_are_given_up_with_the_reason(tmp_path, film, cluster, monkeypatch) -> None:
    """They are of another version: each is dismissed."""
    monkeypatch.setattr("care_live.worker.remote_protocol.VERSION", -1)
    monkeypatch.setattr(remote_workers, "AGAIN_S", 0.01)
    monkeypatch.setattr(remote_workers, "MOST_ENDS", 2)
    ours = RemoteWorkers(remote(tmp_path, film, cluster, workers=1, remote_workers=1).restore)
    ours.start()
    try:
        ours.check()
        until(lambda: ours.problem.startswith("given up: workers have ended 2 times in a row"), WAIT_S)
        assert "exit code 2: the worker on " in ours.problem
        assert "of the link, the daemon has -1: install the same care_live on both" in ours.problem
        until(lambda: is_reported(ours, "no further workers are started on other machines: workers have ended"), WAIT_S)
        ours.check()  # once
        assert ours.explained({"state": "no machine yet"}) == {"state": f"no machine yet: {ours.problem}"}
        assert ours.explained({"state": "waiting"}) == {"state": "waiting"}
    finally:
        ours.close()


@pytest.mark.slow
def test_a_link_that_fails_is_a_fault_of_the_run(tmp_path, film, cluster, monkeypatch) -> None:
    """And where that does not help, Dask is given no further task."""
    monkeypatch.setattr("care_live.worker.remote_port.PAUSE_S", 0.001)
    monkeypatch.setattr("care_live.worker.remote_protocol.Ping", fails)
    ours = RemoteWorkers(remote(tmp_path, film, cluster, workers=1, remote_workers=1).restore)
    ours.start()
    try:
        until(lambda: is_reported(ours, "the network card is gone; it cut off the workers on "), WAIT_S)
        until(lambda: ours.problem.startswith("given up: their link failed"), WAIT_S)
    finally:
        ours.close()


def fails() -> None:
    raise OSError("the network card is gone")


def is_reported(workers: RemoteWorkers, why: str) -> bool:
    try:
        workers.check()
    except RestoreError as error:
        return why in str(error)
    return False


def test_the_link_is_closed_also_where_a_worker_does_not_stop(monkeypatch) -> None:
    closed: list[RemoteWorkers] = []

    def close(workers: RemoteWorkers) -> None:
        closed.append(workers)

    def hangs(worker: RestoreProcess, deadline_s: float) -> None:
        raise RestoreError("it does not stop")

    monkeypatch.setattr(RestoreProcess, "stop", hangs)
    monkeypatch.setattr(RemoteWorkers, "close", close)
    with pytest.raises(RestoreError, match="does not stop"):
        WorkerGroup(RestoreConfig()).stop()
    assert len(closed) == 1


@pytest.mark.slow
def test_tls_without_certificates_is_no_scheduler_that_must_be_started() -> None:
    """Neither the doctor nor the status says so: what is missing is said, and where it belongs."""
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"tls://127.0.0.1:{other.getsockname()[1]}"
        wanted = {"scheduler": address, "remote_workers": 1, "remote_bind": "tcp://127.0.0.1:0"}
        said = next(one for one in examine(parse({"restore": wanted}, origin="test")) if one.check == "scheduler")
        ours = RemoteWorkers(RestoreConfig(**wanted))
        ours.start()
        try:
            until(lambda: bool(ours.problem), WAIT_S)
        finally:
            ours.close()
    assert (said.verdict, said.advice) == ("bad", ours.problem)
    assert "names no certificates: set ca-file" in ours.problem and "start" not in ours.problem


def test_a_thread_that_does_not_end_is_reported(monkeypatch) -> None:
    ended = threading.Event()

    def hangs(*_: object, timeout: float) -> None:
        ended.wait(WAIT_S)
        raise OSError("no scheduler")

    monkeypatch.setattr(remote_workers, "JOIN_S", 0.1)
    monkeypatch.setattr("socket.create_connection", hangs)
    monkeypatch.setattr(remote_workers, "need", lambda *_, **__: None)
    ours = RemoteWorkers(
        RestoreConfig(scheduler="tcp://127.0.0.1:1", remote_workers=1, remote_bind="tcp://127.0.0.1:0")
    )
    ours.start()
    try:
        with pytest.raises(StageError, match="did not end"):
            ours.close()
    finally:
        ended.set()
    until(lambda: not any(thread.name == "care-live dask" for thread in threading.enumerate()), WAIT_S)


def test_settings_that_leave_no_worker_are_refused() -> None:
    with pytest.raises(ValueError, match="leaves no worker"):
        RestoreConfig(workers=0)
    with pytest.raises(ValueError, match="belong together"):
        RestoreConfig(remote_workers=2)
    with pytest.raises(ValueError, match="belong together"):
        RestoreConfig(scheduler="tcp://head:8786")
    elsewhere = RestoreConfig(workers=0, scheduler="tcp://head:8786", remote_workers=2)
    assert (len(elsewhere.each_worker), len(elsewhere.each_remote_worker)) == (0, 2)
