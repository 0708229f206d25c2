"""Weights out of a Keras file in the legacy HDF5 layout, without Keras."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live.imports import need
from care_live.model import confined
from care_live.model.unet_graph import ConvolutionWeights

READER = "care_live.model.keras_reader"
_READ_S = 30.0
_READ_MIB = 4096


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
    need("h5py", extra="import")
    said = confined.run(READER, [str(path.resolve())], str(path), limit_s=_READ_S, limit_mib=_READ_MIB)
    confined.raise_again(said)
    with confined.blamed_on(f"the reader of {path} gave no layers"):
        head, _, numbers = said.output.partition(b"\n")
        shapes = [shape for _, kernel, bias in json.loads(head) for shape in (kernel, bias)]
        arrays = iter(_arrays(numbers, shapes))
        return [KerasLayer(name, next(arrays), next(arrays)) for name, _, _ in json.loads(head)]


def _arrays(numbers: bytes, shapes: list[list[int]]) -> Iterator[NDArray[np.float32]]:
    """Yield arrays that lie one after the other."""
    begin = 0
    for shape in shapes:
        n = math.prod(shape)
        yield np.frombuffer(numbers, "<f4", n, 4 * begin).astype(np.float32).reshape(shape)
        begin += n


def to_convolution(layer: KerasLayer, order: tuple[int, ...]) -> ConvolutionWeights:
    """Return the layer as ONNX has it.

    Parameters
    ----------
    order : for each spatial axis that is wanted, where it is among the layer's own
    """
    n_axes = layer.kernel.ndim - 2
    return ConvolutionWeights(np.ascontiguousarray(layer.kernel.transpose(n_axes + 1, n_axes, *order)), layer.bias)
