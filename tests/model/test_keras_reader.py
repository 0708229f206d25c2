"""The reader of Keras's files takes convolutions of the legacy layout, and names what else it finds."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from care_live.errors import ModelError
from care_live.model.keras_reader import read


def written(path: Path, arrays: dict[str, np.ndarray], *, inside: str = "") -> Path:
    """Write one layer; in the files of whole models it lies in a group."""
    with h5py.File(path, "w") as opened:
        root = opened.create_group(inside) if inside else opened
        root.attrs["layer_names"] = [b"conv"]
        group = root.create_group("conv")
        group.attrs["weight_names"] = [f"conv/{name}:0".encode() for name in arrays]
        for name, array in arrays.items():
            group[f"conv/{name}:0"] = array
    return path


KERNEL, BIAS = np.arange(18, dtype=np.float32).reshape(3, 3, 1, 2), np.zeros(2, np.float32)


@pytest.mark.parametrize("inside", ["", "model_weights"], ids=["weights", "a whole model"])
def test_a_convolution_is_read_with_its_name(tmp_path: Path, inside: str) -> None:
    ((name, kernel, bias),) = read(written(tmp_path / "net.h5", {"kernel": KERNEL, "bias": BIAS}, inside=inside))
    assert name == "conv"
    assert np.array_equal(kernel, KERNEL) and np.array_equal(bias, BIAS)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"kernel": KERNEL}, "holds kernel: a CARE network has only convolutions"),
        ({"kernel": KERNEL, "bias": BIAS, "gamma": BIAS}, "holds bias, gamma, kernel"),
        ({"kernel": np.zeros((2, 2), np.float32), "bias": BIAS}, "has only convolutions"),
    ],
    ids=["no bias", "batch norm", "a dense layer"],
)
def test_another_layer_is_refused_with_what_it_holds(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read(written(tmp_path / "net.h5", arrays))


def test_another_layout_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "net.h5", "w") as opened:
        opened["layers/conv/vars/0"] = KERNEL
    with pytest.raises(ModelError, match="has no layer_names: only Keras's legacy HDF5 layout"):
        read(tmp_path / "net.h5")
