"""Settings with their files, laid down on another machine and read there."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.config import RestoreConfig
from care_live.errors import ModelError, UnknownNetworkError
from care_live.worker.carried_files import carried, lay_down, named_as_here, settled


@pytest.fixture
def config(tmp_path: Path) -> RestoreConfig:
    for name, content in {"worm.onnx": b"w", "beads.onnx": b"b", "beads.card.json": b"{}", "cam.toml": b"gain"}.items():
        (tmp_path / name).write_bytes(content)
    channels = [{"name": "DAPI", "model": tmp_path / "worm.onnx"}, {"name": "GFP", "model": tmp_path / "beads.onnx"}]
    return RestoreConfig.model_validate({"channel": channels, "camera": tmp_path / "cam.toml", "threads": 3})


def test_what_is_laid_down_there_is_what_is_here(config: RestoreConfig, tmp_path: Path) -> None:
    sent = carried(config)
    there = tmp_path / "there"
    there.mkdir()
    lay_down(list(sent.files), [memoryview(part) for part in sent.files.values()], there)
    received = settled(sent.settings, there)
    assert [network.model.read_bytes() for network in received.networks if network.model] == [b"w", b"b"]
    assert [network.channels for network in received.networks] == [("DAPI",), ("GFP",)]
    assert (there / "1.card.json").read_bytes() == b"{}", "a foreign network has its card beside it"
    assert received.camera is not None and received.camera.read_bytes() == b"gain"
    assert received.threads == 3


def test_no_path_of_this_machine_travels(config: RestoreConfig, tmp_path: Path) -> None:
    sent = carried(config)
    assert str(tmp_path) not in str(sent.settings)
    assert set(sent.files) == {"0.onnx", "1.onnx", "1.card.json", "camera.toml"}


def test_a_name_that_came_leaves_its_folder_never(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    lay_down(["../../outside.onnx"], [memoryview(b"x")], there)
    assert [file.name for file in there.iterdir()] == ["outside.onnx"]
    assert not list(tmp_path.glob("outside*"))


def test_a_file_that_is_missing_is_named_before_anything_travels(config: RestoreConfig, tmp_path: Path) -> None:
    (tmp_path / "cam.toml").unlink()
    with pytest.raises(ModelError, match=r"what a worker on another machine needs: .*cam\.toml"):
        carried(config)
    (tmp_path / "worm.onnx").unlink()
    with pytest.raises(UnknownNetworkError, match=r"cannot read the network .*worm\.onnx"):
        carried(config)


def test_a_message_from_there_names_the_file_here(config: RestoreConfig, tmp_path: Path) -> None:
    said = named_as_here("elsewhere/care-live-worker-x/1.onnx gives no numbers", config)
    assert said == f"{tmp_path / 'beads.onnx'} gives no numbers"
