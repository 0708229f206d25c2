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
from onnx import TensorProto, helper

from care_live.errors import ModelError
from care_live.model.onnx_builder import IR_VERSION, OnnxBuilder

OPSET = 20


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
        graph.constant(convolution.weight, f"{name}_weight")
        graph.constant(convolution.bias, f"{name}_bias")
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
                f"convolution {name} has weights {convolution.weight.shape}, the architecture needs {shape}"
            )


class _Graph(OnnxBuilder):
    """Nodes and constants of a U-Net."""

    def __init__(self, unet: UNetShape) -> None:
        super().__init__(named=True)
        self.unet = unet

    def convolve(self, name: str, source: str) -> str:
        """Add the convolution `name` with zero padding to the same size, before its activation."""
        kernel = next(shape for found, shape in convolution_shapes(self.unet) if found == name)[2:]
        pads = [size // 2 for size in kernel] * 2
        inputs = (source, f"{name}_weight", f"{name}_bias")
        return self.add("Conv", *inputs, output=f"{name}_linear", kernel_shape=kernel, pads=pads)

    def level(self, stem: str, source: str) -> str:
        for i in range(self.unet.convolutions_per_level):
            source = self.add("Relu", self.convolve(f"{stem}_{i}", source), output=f"{stem}_{i}")
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
        return self.graph("care", inputs, outputs)


def _write_normalisation(graph: _Graph) -> str:
    """``(raw - low) / (high - low)``, each channel with its own range."""
    per_channel = graph.constant(np.array([1, -1, *(1,) * len(graph.unet.axes)], np.int64), "per_channel")
    low = graph.add("Reshape", "low", per_channel, output="low_per_channel")
    high = graph.add("Reshape", "high", per_channel, output="high_per_channel")
    range_counts = graph.add("Sub", high, low, output="range_counts")
    counts = graph.add("Cast", "raw", output="counts", to=TensorProto.FLOAT)
    return graph.add("Div", graph.add("Sub", counts, low, output="above_low"), range_counts, output="normalised")


def _write_body(graph: _Graph, source: str) -> str:
    unet, skips = graph.unet, []
    for level in range(unet.depth):
        skips.append(graph.level(f"down{level}", source))
        source = graph.add("MaxPool", skips[-1], output=f"pooled{level}", kernel_shape=unet.pool, strides=unet.pool)
    source = graph.level("bottom", source)
    factors = graph.constant(np.array([1, 1, *unet.pool], np.float32), "upsampling")
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    for level in reversed(range(unet.depth)):
        wide = graph.add("Resize", source, "", factors, output=f"upsampled{level}", **nearest)
        source = graph.level(f"up{level}", graph.add("Concat", wide, skips[level], output=f"joined{level}", axis=1))
    return source


def _write_heads(graph: _Graph, features: str) -> None:
    mean = graph.convolve("mean", features)
    if graph.unet.residual:
        mean = graph.add("Add", mean, "normalised", output="normalised_mean")
    if graph.unet.last_activation == "relu":
        mean = graph.add("Relu", mean, output="rectified_mean")
    width = None
    if graph.unet.probabilistic:
        softplus = graph.add("Softplus", graph.convolve("laplace_scale", features), output="softplus")
        floor = graph.constant(graph.unet.scale_floor, "scale_floor")
        width = graph.add("Add", softplus, floor, output="normalised_scale")
    _write_outputs(graph, mean, width)


def _write_outputs(graph: _Graph, mean: str, width: str | None) -> None:
    """Undo the normalisation, where the outputs are camera counts."""
    if graph.unet.output == "counts":
        above_low = graph.add("Mul", mean, "range_counts", output="mean_above_low")
        graph.add("Add", above_low, "low_per_channel", output="mean")
    else:
        graph.add("Identity", mean, output="mean")
    if width is not None and graph.unet.output == "counts":
        graph.add("Mul", width, "range_counts", output="laplace_scale")
    elif width is not None:
        graph.add("Identity", width, output="laplace_scale")
