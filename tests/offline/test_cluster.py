"""Workers share an archive: the same bytes as one process makes, whichever of them is killed meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

import care_live
from care_live.errors import ModelError, StageError
from care_live.images import VolumeKey
from care_live.offline import plan_archive, restore_archive, restorer_of
from care_live.store import RunReader, verify
from tests.make.dask_cluster import WAIT_S, Cluster, wait_for
from tests.make.networks import noisy, save_network
from tests.offline.results import cut_off_the_end, files, n_acknowledged

SETTINGS = {"provider": "cpu", "threads": 1, "progress": False}
N_TIMES = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "net.onnx", filters=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    for number in range(2):
        shape = (3, 64, 66) if number else (3, 16, 18)  # the first ones are large enough for a map of evidence
        movie = np.stack([noisy(shape, seed=10 * number + t) * (t + 1) for t in range(N_TIMES)])
        tifffile.imwrite(folder / f"{number}.ome.tif", movie, ome=True, metadata={"axes": "TZYX"})
    return folder


@pytest.fixture(scope="module")
def undisturbed(data: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of what one process made."""
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    care_live.restore(data, output, model=model, **SETTINGS)
    return files(output)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    yield found
    found.close()


@pytest.mark.slow
def test_workers_make_the_same_bytes_as_one_process(
    cluster: Cluster, data: Path, model: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    report = care_live.restore(data, tmp_path / "out", model=model, workers=cluster.file, **SETTINGS)
    assert (report.n_restored, report.problems) == (2 * N_TIMES, [])
    assert files(tmp_path / "out") == undisturbed
    assert verify(tmp_path / "out/0").clean
    again = care_live.restore(data, tmp_path / "out", model=model, workers=cluster.file, **SETTINGS)
    assert (again.n_restored, again.n_before) == (0, 2 * N_TIMES)
    cut_off_the_end(tmp_path / "out/1")
    care_live.restore(data, tmp_path / "out", model=model, workers=cluster.file, **SETTINGS)
    ended = RunReader(tmp_path / "out/1").ended
    assert ended is not None
    assert not ended.restoring
    assert files(tmp_path / "out") == undisturbed


@pytest.mark.slow
def test_workers_read_the_earlier_time_points_that_one_process_reads(
    cluster: Cluster, data: Path, tmp_path: Path
) -> None:
    model = save_network(tmp_path / "past.onnx", past=2)
    for name, workers in (("one", 0), ("several", cluster.file)):
        report = care_live.restore(data, tmp_path / name, model=model, workers=workers, **SETTINGS)
        assert (report.n_restored, report.problems) == (2 * N_TIMES, [])
    assert files(tmp_path / "several") == files(tmp_path / "one")
    made = RunReader(tmp_path / "one" / "0")
    assert [made.restoration(VolumeKey(t)).earlier for t in range(N_TIMES)] == [
        tuple(VolumeKey(t - back) for back in (1, 2) if t >= back) for t in range(N_TIMES)
    ]


@pytest.mark.slow
def test_workers_have_a_network_for_each_channel(cluster: Cluster, model: Path, tmp_path: Path) -> None:
    joint = save_network(tmp_path / "joint.onnx", filters=2, seed=3, c_in=2, c_out=1)
    networks = {"GFP": model, ("R", "G"): joint, "BF": None}
    pixels = np.stack([[noisy((3, 16, 18), seed=9 * t + c) for c in range(4)] for t in range(N_TIMES)])
    metadata = {"axes": "TCZYX", "Channel": {"Name": ["BF", "R", "G", "GFP"]}}
    tifffile.imwrite(tmp_path / "movie.ome.tif", pixels, ome=True, metadata=metadata)
    for name, workers in (("one", 0), ("several", cluster.file)):
        source, output = tmp_path / "movie.ome.tif", tmp_path / name
        report = care_live.restore(source, output, model=networks, workers=workers, **SETTINGS)
        assert (report.n_restored, report.problems) == (N_TIMES, [])
    assert files(tmp_path / "several") == files(tmp_path / "one")
    assert verify(tmp_path / "several").clean


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_worker_costs_nothing(
    cluster: Cluster, data: Path, model: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    output, reports = tmp_path / "out", []

    def restore() -> None:
        reports.append(care_live.restore(data, output, model=model, workers=cluster.file, **SETTINGS))

    client = threading.Thread(target=restore)
    client.start()
    wait_for(lambda: n_acknowledged(output) > 0 or not client.is_alive())
    cluster.workers[0].send_signal(signal.SIGKILL)
    cluster.workers.append(cluster.add_worker(2))
    client.join(WAIT_S)
    assert reports[0].problems == []
    assert files(output) == undisturbed


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_client_goes_on_to_the_same_bytes(
    cluster: Cluster, data: Path, model: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    options = ("--model", model, "--provider", "cpu", "--threads", 1, "--scheduler-file", cluster.file)
    command = [sys.executable, "-m", "care_live", "restore", *map(str, (data, output, *options))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        wait_for(lambda: n_acknowledged(output) > 2 or client.poll() is not None)
        client.send_signal(signal.SIGKILL)
    last = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert last.returncode == 0, last.stderr
    assert files(output) == undisturbed


@pytest.mark.slow
def test_a_bad_time_point_is_listed_and_does_not_stop_the_others(cluster: Cluster, model: Path, tmp_path: Path) -> None:
    pixels = np.stack([noisy((3, 16, 18), seed=t) for t in range(3)]).astype(np.float32)
    pixels[1, 0, 0, 0] = np.nan
    tifffile.imwrite(tmp_path / "movie.ome.tif", pixels, ome=True, metadata={"axes": "TZYX"})
    report = care_live.restore(
        tmp_path / "movie.ome.tif", tmp_path / "out", model=model, workers=cluster.file, **SETTINGS
    )
    assert report.n_restored == 2
    assert "not a number" in report.problems[0]
    assert verify(tmp_path / "out").clean


DEADLY = """
import os
from care_live.offline.cluster_worker import _Worker

def deadly(restore):
    return lambda self, task, known: os._exit(1) if task.time_point.t == 40 else restore(self, task, known)

_Worker.restore = deadly(_Worker.restore)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)  # eight workers die, and eight are started
def test_a_time_point_that_kills_its_workers_takes_no_other_one_with_it(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    pixels = np.stack([noisy((3, 16, 18), seed=t) for t in range(60)])
    tifffile.imwrite(tmp_path / "movie.ome.tif", pixels, ome=True, metadata={"axes": "TZYX"})
    (tmp_path / "deadly.py").write_text(DEADLY)
    cluster = Cluster(tmp_path, preload=tmp_path / "deadly.py")
    try:
        report = care_live.restore(
            tmp_path / "movie.ome.tif", tmp_path / "out", model=model, workers=cluster.file, **SETTINGS
        )
    finally:
        cluster.close()
    assert (report.n_restored, len(report.problems)) == (59, 1)
    assert "workers died while they restored it" in report.problems[0]
    assert verify(tmp_path / "out").clean


DEADLY_CHOICE = """
import os
from care_live.offline import cluster_worker

cluster_worker._Worker.network = lambda self, asked: os._exit(1)
"""


@pytest.mark.slow
def test_workers_that_die_as_they_open_the_network_end_the_command_in_one_line(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    (tmp_path / "deadly.py").write_text(DEADLY_CHOICE)
    cluster = Cluster(tmp_path, n_workers=1, preload=tmp_path / "deadly.py")
    try:
        with pytest.raises(StageError, match="workers died while they opened the network"):
            care_live.restore(data, tmp_path / "out", model=model, workers=cluster.file, **SETTINGS)
    finally:
        cluster.close()


@pytest.mark.slow
def test_another_network_at_the_same_place_is_refused(
    cluster: Cluster, data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = care_live.open_network(model, provider="cpu", threads=1)
    own = tmp_path / "net.onnx"
    save_network(own, filters=2, seed=7)
    network.path = own
    plan = plan_archive([data / "0.ome.tif"], tmp_path / "out", axes=None, keep_raw=True, as_tiff=False)
    with restorer_of(network, cluster.file) as restorer, pytest.raises(ModelError, match="another network"):
        restore_archive(plan, network, restorer=restorer, progress=False)


@pytest.mark.slow
def test_the_choice_of_a_provider_waits_for_a_worker_and_for_no_scheduler_that_is_gone(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The last worker dies behind the connection, before anything is restored; then the scheduler does."""
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    monkeypatch.setattr("care_live.offline.handed_out.ABSENT_S", 0.5)
    monkeypatch.setattr("care_live.offline.dask_client.ANSWER_S", 3)
    network = care_live.open_network(model, provider="cpu", threads=1)
    plan = plan_archive([data], tmp_path / "out", axes=None, keep_raw=True, as_tiff=False)
    cluster = Cluster(tmp_path, n_workers=1)
    try:
        with restorer_of(network, cluster.file) as restorer, ThreadPoolExecutor(1) as pool:
            cluster.workers[0].kill()
            restored = pool.submit(restore_archive, plan, network, restorer=restorer, progress=False)
            wait_for(lambda: "is left at the Dask scheduler" in caplog.text or restored.done())
            cluster.workers.append(cluster.add_worker(1))
            assert restored.result(WAIT_S).n_restored == 2 * N_TIMES
            cluster.close()
            again = plan_archive([data], tmp_path / "again", axes=None, keep_raw=True, as_tiff=False)
            with pytest.raises(StageError, match="the Dask scheduler is gone"):
                restore_archive(again, network, restorer=restorer, progress=False)
    finally:
        cluster.close()


@pytest.mark.slow
def test_a_lost_scheduler_ends_the_command_in_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    monkeypatch.setattr("care_live.offline.dask_client.ANSWER_S", 3)
    errors: list[BaseException] = []
    long = np.stack([noisy((3, 16, 18), seed=t) for t in range(20)] * 10)  # not done when the scheduler goes
    tifffile.imwrite(tmp_path / "long.ome.tif", long, ome=True, metadata={"axes": "TZYX"})

    def restore() -> None:
        try:
            care_live.restore(
                tmp_path / "long.ome.tif", tmp_path / "out", model=model, workers=cluster.file, **SETTINGS
            )
        except StageError as error:
            errors.append(error)

    cluster = Cluster(tmp_path)
    client = threading.Thread(target=restore)
    client.start()
    wait_for(lambda: n_acknowledged(tmp_path / "out") > 0 or not client.is_alive())
    cluster.close()
    client.join(WAIT_S)
    assert not client.is_alive()
    assert "scheduler is gone" in str(errors[0])
    assert "Traceback" not in capfd.readouterr().err, "Dask says pages about it"


@pytest.mark.slow
@pytest.mark.alone  # a scheduler starts at the port of the one before
def test_a_scheduler_that_is_started_again_costs_nothing(
    data: Path, model: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    monkeypatch.setattr("care_live.offline.dask_client.ANSWER_S", WAIT_S)  # a busy machine starts one slowly
    output, cluster = tmp_path / "out", Cluster(tmp_path)
    try:
        with ThreadPoolExecutor(1) as pool:
            restored = pool.submit(care_live.restore, data, output, model=model, workers=cluster.file, **SETTINGS)
            wait_for(lambda: n_acknowledged(output) > 0 or restored.done())
            cluster.restart_scheduler()
            cluster.workers.append(cluster.add_worker(1))
            report = restored.result(WAIT_S)
    finally:
        cluster.close()
    assert report.problems == []
    assert files(output) == undisturbed
