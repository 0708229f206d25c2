"""Small real networks with seeded weights that obey the model card's contract, written as ONNX by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from care_live.images import Volume, VolumeKey
from care_live.maps import Head
from care_live.model.card import METADATA_KEY, ModelCard, Task
from care_live.model.onnx_builder import OnnxBuilder
from tests.make import records

HALO = {1: 8, 2: 22}
"""What a U-Net with kernel 3 reaches, by depth, for tiles aligned to 2 to the depth."""


class Graph(OnnxBuilder):
    """Nodes and weights under construction; weights are drawn."""

    def __init__(self, ndim: int, seed: int) -> None:
        super().__init__("t")
        self.ndim = ndim
        self.random = np.random.default_rng(seed)

    def conv(self, x: str, c_in: int, c_out: int, *, kernel: int = 3, gain: float = 1.4) -> str:
        shape = (c_out, c_in, *[kernel] * self.ndim)
        weight = self.random.normal(0, gain / np.sqrt(c_in * kernel**self.ndim), shape)
        bias = self.random.normal(0, 0.05, c_out)
        pads = [kernel // 2] * 2 * self.ndim
        return self.add("Conv", x, self.constant(weight), self.constant(bias), pads=pads)

    def block(self, x: str, c_in: int, c_out: int) -> str:
        x = self.add("Relu", self.conv(x, c_in, c_out))
        return self.add("Relu", self.conv(x, c_out, c_out))

    def unet(self, x: str, c_in: int, c_out: int, *, depth: int, filters: int) -> tuple[str, str]:
        """Return mean and positive width, both normalised."""
        skips, channels = [], c_in
        features = x
        for level in range(depth):
            features = self.block(features, channels, filters << level)
            channels = filters << level
            skips.append((features, channels))
            window = [2] * self.ndim
            features = self.add("MaxPool", features, kernel_shape=window, strides=window)
        features = self.block(features, channels, channels)
        for skip, width in reversed(skips):
            scales = self.constant(np.array([1, 1, *[2] * self.ndim], np.float32))
            features = self.add(
                "Resize", features, "", scales, mode="nearest",
                coordinate_transformation_mode="asymmetric", nearest_mode="floor",
            )  # fmt: skip
            features = self.block(self.add("Concat", features, skip, axis=1), channels + width, width)
            channels = width
        mean = self.conv(features, channels, c_out, kernel=1, gain=0.2)
        if c_in == c_out:
            mean = self.add("Add", mean, x)
        width = self.add("Softplus", self.conv(features, channels, c_out, kernel=1, gain=0.3))
        return mean, self.add("Add", width, self.constant(1e-3))


def save_network(  # one row of keywords a test can read
    path: Path,
    *,
    ndim: int = 3,
    c_in: int = 1,
    c_out: int | None = None,
    members: int = 1,
    depth: int = 1,
    filters: int = 4,
    task: Task = "denoise",
    dtype: int = TensorProto.UINT16,
    seed: int = 1,
    past: int = 0,
    **card: Any,
) -> Path:
    """Write a U-Net (or an ensemble of them) that takes raw, low, high and gives mean and laplace_scale."""
    c_out = c_in if c_out is None else c_out
    graph = Graph(ndim, seed)
    n_in = c_in * (1 + past)
    expanded = graph.constant(np.array([1, n_in, *[1] * ndim]))
    low, high = (graph.add("Reshape", name, expanded) for name in ("low", "high"))
    span = graph.add("Sub", high, low)
    x = graph.add("Div", graph.add("Sub", graph.add("Cast", "raw", to=TensorProto.FLOAT), low), span)
    outputs = [graph.unet(x, n_in, c_out, depth=depth, filters=filters) for _ in range(members)]
    mean = graph.add("Mean", *[mean for mean, _ in outputs])
    width = graph.add("Mean", *[width for _, width in outputs])
    heads: list[Head] = ["mean", "laplace_scale"]
    if c_in == c_out:
        if past:
            ends = [graph.constant(np.array([number])) for number in (0, c_in, 1)]
            low, span = (graph.add("Slice", bound, *ends) for bound in (low, span))
        graph.add("Add", graph.add("Mul", mean, span), low, output="mean")
        graph.add("Mul", width, span, output="laplace_scale")
    else:
        graph.add("Identity", mean, output="mean")
        graph.add("Identity", width, output="laplace_scale")
        card.setdefault("output", "normalised")
    if members > 1:
        spread = graph.add("Abs", graph.add("Sub", outputs[0][0], mean))
        graph.add("Div", spread, graph.add("Add", spread, width), output="disagreement")
        heads.append("disagreement")
    values = ModelCard(
        name=path.stem,
        task=task,
        axes="ZYX" if ndim == 3 else "YX",
        channels_in=tuple(f"in{i}" for i in range(c_in)) if c_in > 1 else ("any",),
        channels_out=tuple(f"out{i}" for i in range(c_out)) if c_out > 1 else ("any",),
        divisor=(2**depth,) * ndim,
        halo_px=card.pop("halo_px", (HALO[depth],) * ndim),
        heads=tuple(heads),
        members=members,
        past=past,
        **card,
    )
    return save_graph(path, graph, values, dtype=dtype)


def save_graph(
    path: Path, graph: Graph, card: ModelCard, *, dtype: int = TensorProto.UINT16, flat: bool = False
) -> Path:
    """Write a graph with the contract's inputs and the card's heads as outputs; *flat*: these have no z."""
    onnx.save(_model(graph, card, dtype, flat=flat), path)
    return path


def _model(graph: Graph, card: ModelCard, dtype: int, *, flat: bool) -> onnx.ModelProto:
    c_in, c_out = card.n_inputs, len(card.channels_out)
    space = ["z", "y", "x"][-graph.ndim :]
    inputs = [helper.make_tensor_value_info("raw", dtype, ["n", c_in, *space])]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [c_in]) for name in ("low", "high")]
    outputs = [
        helper.make_tensor_value_info(head, TensorProto.FLOAT, ["n", c_out, *space[flat:]]) for head in card.heads
    ]
    proto = helper.make_model(
        graph.graph("unet", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    helper.set_model_props(proto, {METADATA_KEY: card.model_dump_json()})
    onnx.checker.check_model(proto, full_check=True)
    return proto


def noisy(shape: Sequence[int], seed: int = 0, offset: int = 100) -> np.ndarray:
    """Return smooth structure with photon noise, uint16."""
    random = np.random.default_rng(seed)
    coarse = random.random([-(-n // 4) for n in shape])
    for axis, n in enumerate(shape):
        coarse = np.repeat(coarse, 4, axis).take(range(n), axis)
    return (offset + random.poisson(200 * coarse**3)).astype(np.uint16)


def volume(pixels: np.ndarray, *, t: int = 0, c: int = 0, missing: Sequence[int] = ()) -> Volume:
    """Wrap counts as a closed volume."""
    return records.volume(pixels, VolumeKey(t, 0, c), missing=missing)
