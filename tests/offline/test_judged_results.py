"""Reference planes measure what is restored from the disk as they measure a live run."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from msgspec.structs import replace

import care_live
from care_live.config import RestoreConfig, StoreConfig
from care_live.images import REFERENCE, Integrity, Plan, Restored, RunEnded, RunStarted, Volume, VolumeKey, read_only
from care_live.model import file
from care_live.offline.progress import ProgressBar
from care_live.restore.engine import Engine
from care_live.store import RunReader, open_run, verify
from care_live.trust.references import References
from care_live.trust.run_verdict import in_run
from tests.make.dask_cluster import WAIT_S, Cluster, wait_for
from tests.make.networks import save_network
from tests.make.verdicts import card_verdict
from tests.offline.results import files, n_acknowledged
from tests.trust.photons import noise_of, restored_of, worm

SETTINGS = {"provider": "cpu", "threads": 1, "progress": False}
SHAPE = (8, 64, 64)
N_TIMES, EVERY, LIGHT, Z = 5, 2, 30.0, 4
CHANNELS = ("GFP", f"GFP{REFERENCE}")
PLANES = tuple(range(SHAPE[0]))
PLAN = Plan(
    {VolumeKey(t): PLANES for t in range(N_TIMES)} | {VolumeKey(t, 0, 1): (Z,) for t in range(0, N_TIMES, EVERY)},
    SHAPE[1:],
    channels=CHANNELS,
)


def volumes() -> list[Volume]:
    """The low-light stacks of a run, and behind some of them a plane at full light."""
    truth, found = worm(3, SHAPE).truth, []
    for t in range(N_TIMES):
        low = replace(restored_of(noise_of(truth, seed=t), truth).volume, key=VolumeKey(t), exposure_ms=10.0)
        found.append(low)
        if t % EVERY == 0:
            bright = read_only(noise_of(100 + LIGHT * (truth[Z : Z + 1] - 100), seed=100 + t))
            again = replace(low, pixels=bright, integrity=Integrity((Z,), (Z,)), exposure_ms=LIGHT * 10.0)
            found.append(replace(again, key=VolumeKey(t, 0, 1)))
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that never learnt anything, and whose card says that it is good."""
    promised = card_verdict(raw_db=22.0, filter_db=30.0, network_db=50.0)
    return save_network(tmp_path_factory.mktemp("network") / "net.onnx", filters=2, verdict=promised)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = open_run(
        StoreConfig(directory=tmp_path_factory.mktemp("run"), keep_free_mib=0), RunStarted("recorded", PLAN, {})
    )
    for volume in volumes():
        writer.write_raw(volume)
    writer.note(RunEnded("finished", n_delivered=0))
    writer.close()
    return writer.path


@pytest.fixture(scope="module")
def undisturbed(run: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert care_live.restore(run, out, model=model, **SETTINGS).n_restored == N_TIMES
    return out


def live(model: Path) -> list[Restored]:
    """Restore the run as the daemon does."""
    engine, references, found = Engine(model, RestoreConfig(provider="cpu", threads=1)), References(PLAN), []
    for volume in volumes():
        references.take(volume)
    for volume in volumes():
        if volume.key.c == 0:
            found.append(in_run(engine.restore([volume])[0], file.read_card(model), references, CHANNELS))
    return found


def test_results_are_measured_and_widened_as_live_ones(undisturbed: Path, model: Path) -> None:
    reader, wanted = RunReader(undisturbed), live(model)
    assert [key.t for key in reader.keys("restored")] == list(range(N_TIMES))
    for one in wanted:
        trust, measured = reader.restoration(one.key).trust, one.trust and one.trust.measured
        assert trust is not None and trust.measured is not None and measured is not None
        assert (trust.measured.t, trust.measured.psnr_db) == (measured.t, measured.psnr_db)
        assert trust.measured.coverage == measured.coverage
        np.testing.assert_array_equal(reader.read("laplace_scale", one.key), one.maps["laplace_scale"])
    assert wanted[-1].trust is not None
    assert any("than the model card says" in why for why in wanted[-1].trust.reasons), "the network is a bad one"
    newest = reader.restoration(VolumeKey(N_TIMES - 1)).trust
    assert newest is not None and any("than the model card says" in why for why in newest.reasons)


def test_references_are_kept_and_their_light_is_counted(undisturbed: Path) -> None:
    reader = RunReader(undisturbed)
    assert [key.t for key in reader.keys("raw") if key.c == 1] == list(range(0, N_TIMES, EVERY))
    newest = reader.restoration(VolumeKey(N_TIMES - 1)).trust
    assert newest is not None and newest.measured is not None
    assert newest.measured.dose == pytest.approx(3 * LIGHT / (N_TIMES * SHAPE[0]))
    assert verify(undisturbed).clean


@pytest.mark.parametrize("n_done", [1, 3, 4])
def test_what_is_resumed_is_measured_as_if_nothing_had_happened(
    n_done: int, run: Path, model: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[None] = []

    def step(self: ProgressBar) -> None:
        steps.append(None)
        if len(steps) == n_done:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ProgressBar, "step", step)
        with pytest.raises(KeyboardInterrupt):
            care_live.restore(run, tmp_path / "out", model=model, **SETTINGS)
    assert care_live.restore(run, tmp_path / "out", model=model, **SETTINGS).n_before == n_done
    assert files(tmp_path / "out") == files(undisturbed)
    resumed, wanted = RunReader(tmp_path / "out"), RunReader(undisturbed)
    for t in range(N_TIMES):
        trust = resumed.restoration(VolumeKey(t)).trust
        assert trust is not None and trust == wanted.restoration(VolumeKey(t)).trust


@pytest.mark.slow
@pytest.mark.parametrize("n_done", [0, 3], ids=["anew", "resumed"])
def test_workers_measure_what_one_process_measures(
    n_done: int,
    run: Path,
    model: Path,
    undisturbed: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    steps: list[None] = []

    def step(self: ProgressBar) -> None:
        steps.append(None)
        if len(steps) == n_done:
            raise KeyboardInterrupt

    if n_done:
        with monkeypatch.context() as patch:
            patch.setattr(ProgressBar, "step", step)
            with pytest.raises(KeyboardInterrupt):
                care_live.restore(run, tmp_path / "out", model=model, **SETTINGS)
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        report = care_live.restore(run, tmp_path / "out", model=model, workers=cluster.file, **SETTINGS)
    finally:
        cluster.close()
    assert (report.n_restored, report.n_before, report.problems) == (N_TIMES - n_done, n_done, [])
    assert_measured_as(undisturbed, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_what_killed_workers_leave_is_measured_elsewhere(
    run: Path, model: Path, undisturbed: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Those that take over have seen no reference, and measure as if they had seen all."""
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    output, reports = tmp_path / "out", []
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))

    def restore() -> None:
        reports.append(care_live.restore(run, output, model=model, workers=cluster.file, **SETTINGS))

    client = threading.Thread(target=restore)
    try:
        client.start()
        wait_for(lambda: n_acknowledged(output) > 0 or not client.is_alive())
        for number, worker in enumerate(list(cluster.workers)):
            cluster.workers.append(cluster.add_worker(number + 2))
            worker.send_signal(signal.SIGKILL)
        client.join(WAIT_S)
    finally:
        cluster.close()
    assert [(report.n_restored, report.problems) for report in reports] == [(N_TIMES, [])]
    assert_measured_as(undisturbed, output)


def assert_measured_as(undisturbed: Path, output: Path) -> None:
    """Compare files, verdicts and what references measured with those of one process that nothing disturbed."""
    assert files(output) == files(undisturbed)
    shared, wanted = RunReader(output), RunReader(undisturbed)
    for t in range(N_TIMES):
        trust = shared.restoration(VolumeKey(t)).trust
        assert trust is not None and trust.measured is not None and trust == wanted.restoration(VolumeKey(t)).trust
    assert verify(output).clean


def test_without_raw_volumes_the_light_is_counted_all_the_same(run: Path, model: Path, tmp_path: Path) -> None:
    care_live.restore(run, tmp_path / "out", model=model, keep_raw=False, **SETTINGS)
    newest = RunReader(tmp_path / "out").restoration(VolumeKey(N_TIMES - 1)).trust
    assert newest is not None and newest.measured is not None
    assert newest.measured.dose == pytest.approx(3 * LIGHT / (N_TIMES * SHAPE[0]))


def test_a_tiff_of_a_run_with_references_is_of_the_restored_channel(run: Path, model: Path, tmp_path: Path) -> None:
    report = care_live.restore(run, tmp_path / "out.tif", model=model, **SETTINGS)
    assert (report.n_restored, report.problems) == (N_TIMES, [])
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert tiff.series[0].shape == (N_TIMES, 2, *SHAPE)
