"""Weights of Keras are read without loading a module."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from care_live.errors import ModelError
from care_live.model.keras import read_layers


def keras_file(path: Path, kernel: object) -> Path:
    """Write a file of one layer whose kernel is made by a function of the group."""
    with h5py.File(path, "w") as opened:
        opened.attrs["layer_names"] = [b"conv2d_1"]
        group = opened.create_group("conv2d_1")
        group.attrs["weight_names"] = [b"conv2d_1/kernel:0", b"conv2d_1/bias:0"]
        inner = group.create_group("conv2d_1")
        inner["bias:0"] = np.zeros(2, np.float32)
        kernel(inner)  # type: ignore[operator]
    return path


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(3, 3, 1, 2)).astype(np.float32)
    (layer,) = read_layers(keras_file(tmp_path / "net.h5", lambda group: group.__setitem__("kernel:0", values)))
    assert layer.name == "conv2d_1"
    assert (layer.kernel == values).all()
    assert layer.bias.shape == (2,)


def test_no_module_of_the_folder_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit(7)\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    path = keras_file(tmp_path / "net.h5", lambda group: group.__setitem__("kernel:0", np.zeros((3, 3, 1, 2))))
    assert len(read_layers(path)) == 1


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(4 * 18))
    outside = [(str(tmp_path / "secret"), 0, 4 * 18)]
    path = keras_file(
        tmp_path / "net.h5",
        lambda group: group.create_dataset("kernel:0", (3, 3, 1, 2), np.float32, external=outside),
    )
    with pytest.raises(ModelError, match=r"in another file: a network is one file$"):
        read_layers(path)
    other = keras_file(tmp_path / "other.h5", lambda group: group.__setitem__("kernel:0", np.zeros((3, 3, 1, 2))))
    link = h5py.ExternalLink(str(other), "conv2d_1/conv2d_1/kernel:0")
    linked = keras_file(tmp_path / "linked.h5", lambda group: group.__setitem__("kernel:0", link))
    with pytest.raises(ModelError, match=r"in another file: a network is one file$"):
        read_layers(linked)


def test_weights_that_are_only_declared_are_not_made(tmp_path: Path) -> None:
    path = keras_file(
        tmp_path / "net.h5",
        lambda group: group.create_dataset("kernel:0", (2**20, 2**20, 1, 2), np.float32, chunks=(64, 64, 1, 2)),
    )
    with pytest.raises(ModelError, match=r"of 2199023255552 numbers: at most \d+ are read$"):
        read_layers(path)
