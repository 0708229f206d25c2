"""A 3D convolution as plane sums: its 2D kernels, and how it moves along z.

Output plane z of a convolution with kernel planes K is ``Σ_k in[z·step - pad + k]·K[k] + bias``: a sum of 2D
convolutions. Planes outside the stack are zero and are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live.model import rewrite
from care_live.planewise.frontend import NetworkNode, Unstreamable
from care_live.planewise.ir import Kernel, Placing, Shape
from care_live.planewise.motion import Motion, SlidingWindow, Spread


class PlaneKernels(NamedTuple):
    """A 3D kernel taken apart along z."""

    kernels: Sequence[Kernel]
    motion: Motion
    placing: Placing
    factors: Shape = (1, 1)
    """By which the input is upsampled in the plane first, to its nearest neighbours."""


def convolution(node: NetworkNode, weight: NDArray[np.float32]) -> PlaneKernels:
    """Take a convolution apart."""
    strides, pads = _placing(node, weight.shape[2:])
    return PlaneKernels(
        _kernels(node, weight),
        SlidingWindow(weight.shape[2], strides[0], pads[0]),
        _in_plane(node, "Conv", strides, pads),
    )


def transposed_convolution(node: NetworkNode, weight: NDArray[np.float32]) -> PlaneKernels:
    """Take a transposed convolution apart; where it equals an upsampled convolution, use that: a CPU does it faster."""
    strides, pads = _placing(node, weight.shape[2:])
    if any(node.attributes.get("output_padding", ())) or "output_shape" in node.attributes:
        raise Unstreamable(f"the transposed convolution {node.outputs[0]} pads its output")
    placing = _in_plane(node, "ConvTranspose", strides, pads)
    apart = PlaneKernels(_kernels(node, weight), Spread(weight.shape[2], strides[0], pads[0]), placing)
    return _upsampled(apart) or apart


def pooling(node: NetworkNode) -> tuple[Motion, dict[str, Any], str]:
    """Return how a pooling moves along z, its attributes in the plane, and what combines planes."""
    size = tuple(node.attributes["kernel_shape"])
    strides, pads = _placing(node, size)
    if node.attributes.get("ceil_mode", 0) or len(node.outputs) > 1 or (node.op == "AveragePool" and any(pads)):
        raise Unstreamable(f"{node.op} {node.outputs[0]} is not a plain pooling")
    placing = {"kernel_shape": size[1:], "strides": strides[1:], "pads": _without_z(pads)}
    return SlidingWindow(size[0], strides[0], pads[0]), placing, "Max" if node.op == "MaxPool" else "Mean"


def _upsampled(apart: PlaneKernels) -> PlaneKernels | None:
    """Return a transposed convolution as upsampling in the plane and a plain convolution, where it is that."""
    factors = apart.placing.strides
    gathered = [rewrite.gathered_weight(kernel.weight, factors) for kernel in apart.kernels]
    plain = [Kernel(f"{k.name}/plain", w) for k, w in zip(apart.kernels, gathered, strict=True) if w is not None]
    if len(plain) < len(apart.kernels) or apart.placing.group != 1:
        return None
    centre = tuple(size // 2 for size in plain[0].weight.shape[2:])
    if apart.placing.pads != centre * 2:
        return None
    return PlaneKernels(plain, apart.motion, Placing("Conv", (1, 1), centre * 2, 1), factors)


def _kernels(node: NetworkNode, weight: NDArray[np.float32]) -> list[Kernel]:
    return [Kernel(f"{node.inputs[1]}[{tap}]", weight[:, :, tap]) for tap in range(weight.shape[2])]


def _placing(node: NetworkNode, size: Shape) -> tuple[Shape, Shape]:
    """Return strides and pads (z, y, x, then z, y, x again)."""
    auto = node.attributes.get("auto_pad", b"NOTSET")
    strides = tuple(node.attributes.get("strides", (1, 1, 1)))
    if any(step != 1 for step in node.attributes.get("dilations", ())):
        raise Unstreamable(f"{node.op} {node.outputs[0]} is dilated")
    if auto in (b"SAME_UPPER", b"SAME_LOWER") and set(strides) == {1} and all(n % 2 for n in size):
        return strides, tuple(n // 2 for n in size) * 2
    if auto not in (b"NOTSET", b"VALID"):
        raise Unstreamable(f"{node.op} {node.outputs[0]} leaves its padding to the library ({auto.decode()})")
    return strides, tuple(node.attributes.get("pads", (0,) * 6)) if auto == b"NOTSET" else (0,) * 6


def _in_plane(node: NetworkNode, kind: str, strides: Shape, pads: Shape) -> Placing:
    return Placing(kind, tuple(strides[1:]), _without_z(pads), node.attributes.get("group", 1))


def _without_z(pads: Shape) -> Shape:
    return (*pads[1:3], *pads[4:6])
