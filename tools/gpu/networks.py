"""The networks that are measured: the default 3D U-Net with seeded weights, one member or several in one graph."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from care_live.model.card import ModelCard
from care_live.model.unet_graph import UNetShape, build, seeded_weights
from gpu.half import in_half
from tests.make.merged import merge

ENDS = {"low": np.array([100], np.float32), "high": np.array([3000], np.float32)}
"""Of every run."""
HALO_PX = 24


def network(unet: UNetShape, *, members: int = 1, half: bool = False) -> onnx.ModelProto:
    """Return an ensemble in one graph; *half*: convolutions in float16, the rest in float32."""
    single = [build(unet, seeded_weights(unet, seed)) for seed in range(members)]
    merged = single[0] if members == 1 else merge(single)
    return in_half(merged) if half else merged


def card(unet: UNetShape, members: int) -> ModelCard:
    """Return what care_live must know of such a network."""
    heads = ("mean", "laplace_scale", "disagreement") if members > 1 else ("mean", "laplace_scale")
    divisor = 2**unet.depth
    return ModelCard(
        name="gpu-check", divisor=(divisor,) * 3, halo_px=(HALO_PX,) * 3, heads=heads, members=members
    )  # fmt: skip


def volume(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint16]:
    """Return photon noise on smooth structure, (1, 1, z, y, x) camera counts."""
    random = np.random.default_rng(seed)
    z, y, x = (np.linspace(0, 6 * np.pi, n) for n in shape)
    smooth = 1 + np.sin(z)[:, None, None] * np.sin(y)[None, :, None] * np.sin(x)[None, None, :]
    return (100 + random.poisson(400 * smooth)).astype(np.uint16)[None, None]


def matrix_product(side: int) -> onnx.ModelProto:
    """Return a float32 matrix product, the measure of a machine's peak."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in "abc"]
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "product", ends[:2], ends[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
