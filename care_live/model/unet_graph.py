"""A CARE U-Net as an ONNX graph, made from its architecture and its weights: no torch, no TensorFlow.

The graph keeps the contract of `care_live.model.card`: camera counts in, camera counts out, normalisation
inside. The topology is that of Weigert et al., Nature Methods 15, 1090 (2018): ``depth`` levels of two
convolutions and a max-pooling, two convolutions at the bottom, then nearest upsampling, concatenation with
the level's skip and two convolutions on the way up; 1-pixel heads for the mean (plus the input, when
residual) and for the Laplace scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from care_live.errors import ModelError

OPSET = 20
IR_VERSION = 10


class ConvolutionWeights(NamedTuple):
    """Weights of one convolution."""

    weight: NDArray[np.float32]
    """(c_out, c_in, [kz,] ky, kx), as ONNX has it."""
    bias: NDArray[np.float32]
    """(c_out,)"""


Weights: TypeAlias = Sequence[ConvolutionWeights]
"""All convolutions of a network in the order of `convolution_shapes`."""


@dataclass(frozen=True, slots=True)
class UNetShape:
    """What a CARE network looks like, without its weights."""

    axes: Literal["YX", "ZYX"] = "ZYX"
    depth: int = 2
    """How often the field is pooled."""
    filters: int = 32
    """Channels of the first level; each level doubles them."""
    kernel: tuple[int, ...] = (3, 3, 3)
    """Odd, one per axis."""
    pool: tuple[int, ...] = (2, 2, 2)
    """Pooling factor, one per axis; (1, 2, 2) keeps every plane."""
    channels_in: int = 1
    channels_out: int = 1
    probabilistic: bool = True
    residual: bool = True
    """The network predicts what to add to its input."""
    scale_floor: float = 1e-3
    """Added to the softplus of the scale head, in normalised intensity."""
    convolutions_per_level: int = 2
    last_activation: Literal["linear", "relu"] = "linear"
    """Of the mean, after the residual is added."""
    output: Literal["counts", "normalised"] = "counts"
    raw_type: Literal["uint16", "float32"] = "uint16"

    def __post_init__(self) -> None:
        n_axes = len(self.axes)
        if len(self.kernel) != n_axes or len(self.pool) != n_axes or any(size % 2 == 0 for size in self.kernel):
            raise ModelError(f"kernel {self.kernel} and pool {self.pool} want one (odd) size per axis of {self.axes}")
        if (self.residual or self.output == "counts") and self.channels_in != self.channels_out:
            raise ModelError(
                f"{self.channels_in} channels in and {self.channels_out} out can be neither residual nor camera counts"
            )


class ConvolutionShape(NamedTuple):
    """Where a convolution stands and what its weight looks like."""

    name: str
    shape: tuple[int, ...]
    """(c_out, c_in, [kz,] ky, kx)"""


def convolution_shapes(unet: UNetShape) -> tuple[ConvolutionShape, ...]:
    """Return every convolution in computing order: levels down, bottom, levels up, mean, laplace_scale.

    Examples
    --------
    >>> [shape.name for shape in convolution_shapes(UNetShape(depth=1))]
    ['down0_0', 'down0_1', 'bottom_0', 'bottom_1', 'up0_0', 'up0_1', 'mean', 'laplace_scale']
    """
    return tuple(_shapes(unet))


def _shapes(unet: UNetShape) -> Iterator[ConvolutionShape]:
    n_per_level, channels = unet.convolutions_per_level, unet.channels_in
    for level in range(unet.depth):
        for i in range(n_per_level):
            yield ConvolutionShape(f"down{level}_{i}", (unet.filters << level, channels, *unet.kernel))
            channels = unet.filters << level
    for i in range(n_per_level):
        wide = i < n_per_level - 1
        c_out = unet.filters << (unet.depth if wide else max(0, unet.depth - 1))
        yield ConvolutionShape(f"bottom_{i}", (c_out, channels, *unet.kernel))
        channels = c_out
    for level in reversed(range(unet.depth)):
        channels += unet.filters << level  # the skip
        for i in range(n_per_level):
            c_out = unet.filters << (level if i < n_per_level - 1 else max(0, level - 1))
            yield ConvolutionShape(f"up{level}_{i}", (c_out, channels, *unet.kernel))
            channels = c_out
    for head in heads(unet):
        yield ConvolutionShape(head, (unet.channels_out, channels, *(1,) * len(unet.axes)))


def heads(unet: UNetShape) -> tuple[str, ...]:
    """Return the names of the graph's outputs."""
    return ("mean", "laplace_scale") if unet.probabilistic else ("mean",)


def seeded_weights(unet: UNetShape, seed: int = 0) -> tuple[ConvolutionWeights, ...]:
    """Return random weights whose activations neither vanish nor grow (He et al. 2015); equal for equal seeds."""
    random = np.random.default_rng(seed)
    return tuple(
        ConvolutionWeights(
            (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32),
            (random.standard_normal(shape[0]) * 0.05).astype(np.float32),
        )
        for _, shape in convolution_shapes(unet)
    )


def build(unet: UNetShape, weights: Weights, *, metadata: dict[str, str] | None = None) -> onnx.ModelProto:
    """Return the network as an ONNX model with inputs raw, low, high and outputs mean[, laplace_scale].

    Parameters
    ----------
    weights
        As `convolution_shapes` lists them.
    metadata
        Goes into the model's metadata (the model card as JSON, say).

    Raises
    ------
    ModelError
        A convolution is missing or has another shape than the architecture wants.
    """
    _check_shapes(unet, weights)
    graph = _Graph(unet)
    for (name, _), convolution in zip(convolution_shapes(unet), weights, strict=True):
        graph.constant(f"{name}_weight", convolution.weight)
        graph.constant(f"{name}_bias", convolution.bias)
    _write_heads(graph, _write_body(graph, _write_normalisation(graph)))
    model = helper.make_model(
        graph.close(), opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="care_live"
    )
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model, full_check=True)
    return model


def _check_shapes(unet: UNetShape, weights: Weights) -> None:
    wanted = convolution_shapes(unet)
    if len(weights) != len(wanted):
        raise ModelError(f"{len(weights)} convolutions came, {len(wanted)} make this network: {[n for n, _ in wanted]}")
    for (name, shape), convolution in zip(wanted, weights, strict=True):
        if convolution.weight.shape != shape or convolution.bias.shape != shape[:1]:
            raise ModelError(
                f"convolution {name} has weights {convolution.weight.shape}, the architecture wants {shape}"
            )


class _Graph:
    """Nodes and constants in the making."""

    def __init__(self, unet: UNetShape) -> None:
        self.unet = unet
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.float32] | NDArray[np.int64]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def convolve(self, name: str, source: str) -> str:
        """Add the convolution `name` with zero padding to the same size, before its activation."""
        kernel = next(shape for found, shape in convolution_shapes(self.unet) if found == name)[2:]
        pads = [size // 2 for size in kernel] * 2
        inputs = [source, f"{name}_weight", f"{name}_bias"]
        return self.node("Conv", inputs, f"{name}_linear", kernel_shape=kernel, pads=pads)

    def level(self, stem: str, source: str) -> str:
        for i in range(self.unet.convolutions_per_level):
            source = self.node("Relu", [self.convolve(f"{stem}_{i}", source)], f"{stem}_{i}")
        return source

    def close(self) -> onnx.GraphProto:
        unet, space = self.unet, list(self.unet.axes.lower())
        raw = getattr(TensorProto, unet.raw_type.upper().replace("32", ""))
        inputs = [
            helper.make_tensor_value_info("raw", raw, ["n", unet.channels_in, *space]),
            helper.make_tensor_value_info("low", TensorProto.FLOAT, [unet.channels_in]),
            helper.make_tensor_value_info("high", TensorProto.FLOAT, [unet.channels_in]),
        ]
        outputs = [
            helper.make_tensor_value_info(head, TensorProto.FLOAT, ["n", unet.channels_out, *space])
            for head in heads(unet)
        ]
        return helper.make_graph(self.nodes, "care", inputs, outputs, self.constants)


def _write_normalisation(graph: _Graph) -> str:
    """``(raw - low) / (high - low)``, each channel with its own range."""
    per_channel = graph.constant("per_channel", np.array([1, -1, *(1,) * len(graph.unet.axes)], np.int64))
    low = graph.node("Reshape", ["low", per_channel], "low_per_channel")
    high = graph.node("Reshape", ["high", per_channel], "high_per_channel")
    graph.node("Sub", [high, low], "range_counts")
    counts = graph.node("Cast", ["raw"], "counts", to=TensorProto.FLOAT)
    return graph.node("Div", [graph.node("Sub", [counts, low], "above_low"), "range_counts"], "normalised")


def _write_body(graph: _Graph, source: str) -> str:
    unet, skips = graph.unet, []
    for level in range(unet.depth):
        skips.append(graph.level(f"down{level}", source))
        source = graph.node("MaxPool", skips[-1:], f"pooled{level}", kernel_shape=unet.pool, strides=unet.pool)
    source = graph.level("bottom", source)
    factors = graph.constant("upsampling", np.array([1, 1, *unet.pool], np.float32))
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    for level in reversed(range(unet.depth)):
        wide = graph.node("Resize", [source, "", factors], f"upsampled{level}", **nearest)
        source = graph.level(f"up{level}", graph.node("Concat", [wide, skips[level]], f"joined{level}", axis=1))
    return source


def _write_heads(graph: _Graph, features: str) -> None:
    mean = graph.convolve("mean", features)
    if graph.unet.residual:
        mean = graph.node("Add", [mean, "normalised"], "normalised_mean")
    if graph.unet.last_activation == "relu":
        mean = graph.node("Relu", [mean], "rectified_mean")
    width = None
    if graph.unet.probabilistic:
        softplus = graph.node("Softplus", [graph.convolve("laplace_scale", features)], "softplus")
        floor = graph.constant("scale_floor", np.array(graph.unet.scale_floor, np.float32))
        width = graph.node("Add", [softplus, floor], "normalised_scale")
    _write_outputs(graph, mean, width)


def _write_outputs(graph: _Graph, mean: str, width: str | None) -> None:
    """Undo the normalisation, where the outputs are camera counts."""
    if graph.unet.output == "counts":
        graph.node("Add", [graph.node("Mul", [mean, "range_counts"], "mean_above_low"), "low_per_channel"], "mean")
    else:
        graph.node("Identity", [mean], "mean")
    if width is not None and graph.unet.output == "counts":
        graph.node("Mul", [width, "range_counts"], "laplace_scale")
    elif width is not None:
        graph.node("Identity", [width], "laplace_scale")
