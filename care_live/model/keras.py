"""Weights out of a Keras file in the legacy HDF5 layout, without Keras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ModelError
from care_live.imports import need
from care_live.model.unet_graph import ConvolutionWeights


class KerasLayer(NamedTuple):
    """A convolution as Keras stores it."""

    name: str
    """With the groups that it lies in: ``model_1/conv2d_3``."""
    kernel: NDArray[np.float32]
    """([kz,] ky, kx, c_in, c_out)"""
    bias: NDArray[np.float32]
    """(c_out,)"""


def read_layers(path: Path) -> list[KerasLayer]:
    """Return every convolution of a weights file, in the order of its layers.

    Raises
    ------
    ModelError
        The file is missing, cut off, no HDF5, of another layout, or holds something that is no convolution.
    """
    h5py = need("h5py", extra="import")
    try:
        with h5py.File(path, "r") as opened:
            tree = opened.get("model_weights", opened)
            if "layer_names" not in tree.attrs:
                raise ModelError(f"{path} has no layer_names: only Keras's legacy HDF5 layout can be imported")
            return list(_layers(tree, path))
    except (OSError, KeyError, RuntimeError) as error:
        raise ModelError(f"cannot read the weights {path}: {error} (missing, cut off, or no HDF5 file)") from error


def to_convolution(layer: KerasLayer, order: tuple[int, ...]) -> ConvolutionWeights:
    """Return the layer as ONNX has it.

    Parameters
    ----------
    order : for each spatial axis that is wanted, where it is among the layer's own
    """
    n_axes = layer.kernel.ndim - 2
    return ConvolutionWeights(np.ascontiguousarray(layer.kernel.transpose(n_axes + 1, n_axes, *order)), layer.bias)


def _layers(tree: Any, path: Path) -> Iterator[KerasLayer]:
    for group in map(_text, tree.attrs["layer_names"]):
        weights: dict[str, dict[str, NDArray[np.float32]]] = {}
        for name in map(_text, tree[group].attrs["weight_names"]):
            layer, _, part = name.split(":")[0].rpartition("/")
            weights.setdefault(layer, {})[part] = np.asarray(tree[group][name], np.float32)
        for layer, parts in weights.items():
            if set(parts) != {"kernel", "bias"} or parts["kernel"].ndim not in {4, 5}:
                raise ModelError(
                    f"layer {layer} of {path} holds {', '.join(sorted(parts))}: a CARE network has only convolutions"
                )
            yield KerasLayer(layer, parts["kernel"], parts["bias"])


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
