"""One worker, in this process: what it keeps open."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.config import RestoreConfig
from care_live.offline import cluster_worker, open_network
from care_live.offline.cluster_worker import choose_for_all
from care_live.offline.opened_network import OpenedNetwork
from care_live.offline.settings import restore_config
from care_live.trust import camera_file
from care_live.trust.camera import CameraModel
from tests.make.networks import save_network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "net.onnx", filters=2)


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
            choose_for_all(model, sha256, config, "uint16")
            assert len(opened) == n_opened
