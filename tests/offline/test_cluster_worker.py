"""One worker, in this process: what it keeps open, and what becomes of a time point that it cannot store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.config import RestoreConfig
from care_live.errors import ConfigError, ModelError, VolumeMemoryError
from care_live.model.file import read_card
from care_live.offline import cluster_worker, open_network
from care_live.offline.cluster_worker import AskedNetwork, WorkerTask, checksum_of, choose_for_all, restore_time_points
from care_live.offline.opened_network import OpenedNetwork
from care_live.offline.settings import restore_config, what_shapes_the_result
from care_live.offline.time_points import TimePoint
from care_live.store.shared_writer import SharedRun
from care_live.trust import camera_file
from care_live.trust.camera import CameraModel
from tests.make.networks import noisy, save_network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "net.onnx", filters=2)


def asked(model: Path, sha256: str, config: RestoreConfig) -> AskedNetwork:
    cards = checksum_of([read_card(model)])
    return AskedNetwork(model, sha256, config, what_shapes_the_result(config)["camera"], cards)


def test_a_camera_file_that_is_written_anew_is_read_anew(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def counted(path: Path, config: RestoreConfig) -> OpenedNetwork:
        opened.append(path)
        return OpenedNetwork(path, config)

    monkeypatch.setattr(cluster_worker, "OpenedNetwork", counted)
    camera = tmp_path / "a.camera"
    sha256 = open_network(model, provider="cpu").identity.sha256
    for n_opened, gain in enumerate((2.0, 4.0), start=1):
        camera_file.write(camera, CameraModel(gain, 100.0, 1.5, "test"))
        config = restore_config({"provider": "cpu", "threads": 1, "camera": camera})
        for _ in range(2):
            choose_for_all(asked(model, sha256, config), "uint16")
            assert len(opened) == n_opened


def test_a_worker_with_another_camera_file_refuses_and_an_open_network_keeps_its_own(
    model: Path, tmp_path: Path
) -> None:
    camera = tmp_path / "a.camera"
    camera_file.write(camera, CameraModel(2.0, 100.0, 1.5, "test"))
    config = restore_config({"provider": "cpu", "threads": 1, "camera": camera})
    begun = asked(model, open_network(model, provider="cpu").identity.sha256, config)
    choose_for_all(begun, "uint16")
    camera_file.write(camera, CameraModel(4.0, 100.0, 1.5, "test"))
    choose_for_all(begun, "uint16")
    choose_for_all(asked(model, begun.sha256, config), "uint16")
    with pytest.raises(ConfigError, match="is not the one that the command began with"):
        choose_for_all(begun, "uint16")


def test_a_worker_with_another_version_or_another_card_refuses(model: Path) -> None:
    config = restore_config({"provider": "cpu", "threads": 1})
    begun = asked(model, open_network(model, provider="cpu").identity.sha256, config)
    with pytest.raises(ConfigError, match=r"care_live is .* on worker .*, 0\.0\.1 where the command runs: install"):
        choose_for_all(replace(begun, care_live="0.0.1"), "uint16")
    with pytest.raises(ModelError, match=r"the card of .* on worker .* is another one"):
        choose_for_all(replace(begun, cards="00000000"), "uint16")


def test_another_runtime_than_where_the_provider_was_chosen_is_said(task: WorkerTask) -> None:
    assert restore_time_points([task]).results[0].remarks == ()
    chosen = replace(task.computed_with, versions={**task.computed_with.versions, "onnxruntime": "0.1"})
    (remark,) = restore_time_points([replace(task, computed_with=chosen)]).results[0].remarks
    assert "begun with onnxruntime 0.1, goes on with" in remark


def test_a_data_set_that_is_not_on_a_worker_costs_its_time_points_alone(task: WorkerTask) -> None:
    assert isinstance(task.source, Path)
    task.source.unlink()
    (result,) = restore_time_points([replace(task, run_id="unseen")]).results
    assert "there is no data set at" in result.error and "on worker" in result.error


@pytest.fixture
def task(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerTask:
    """The first time point of two; what is made of it is stored nowhere."""
    monkeypatch.setattr(cluster_worker, "write_raw", lambda *_: None)
    monkeypatch.setattr(cluster_worker, "write_restored", lambda *_, **__: None)
    movie = np.stack([noisy((3, 16, 18), seed=t) for t in range(2)])
    tifffile.imwrite(tmp_path / "movie.ome.tif", movie, ome=True, metadata={"axes": "TZYX"})
    network = open_network(model, provider="cpu", threads=1)
    return WorkerTask(
        asked=asked(model, network.identity.sha256, network.config),
        computed_with=network.computed_with("uint16"),
        source=tmp_path / "movie.ome.tif",
        axes=None,
        run=SharedRun(tmp_path / "run", ""),
        run_id="run",
        time_point=TimePoint(0, 0),
        folder="0",
        keep_raw=True,
        stored=frozenset(),
    )


def test_a_volume_for_which_no_memory_is_left_costs_its_time_point_alone(
    task: WorkerTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finds_none(*_: object) -> None:
        raise VolumeMemoryError("no memory for coarser levels")

    monkeypatch.setattr(cluster_worker, "write_raw", finds_none)
    (result,) = restore_time_points([task]).results
    assert (result.written, result.error) == ((), "no memory for coarser levels")
    assert result.networks
