"""CSBDeep's surface projection as an ONNX graph: weigh the planes, add them up, restore the sum.

A small 3D network gives every voxel a number; a softmax along z turns them into weights that add up to one, so
that the weighted sum of the planes is a plane in camera counts. A 2D U-Net restores it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, compose, helper

from care_live.errors import ModelError
from care_live.model.onnx_builder import IR_VERSION, OnnxBuilder
from care_live.model.unet_graph import OPSET, ConvolutionWeights, UNetShape, Weights, build, heads


@dataclass(frozen=True, slots=True)
class ProjectionGraph:
    """What the weighing network looks like, without its weights; axes ZYX."""

    depth: int = 4
    filters: int = 8
    convolutions: int = 1
    """Per level."""
    kernel: tuple[int, int, int] = (3, 3, 3)
    pool: tuple[int, int, int] = (1, 2, 2)
    channels_in: int = 1

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """(c_out, c_in, kz, ky, kx) of every convolution, in computing order."""
        n_inner = self.convolutions * (2 * self.depth + 1)
        channels = [self.channels_in, *[self.filters] * n_inner, 1]
        return tuple((c_out, c_in, *self.kernel) for c_in, c_out in itertools.pairwise(channels))


def build_projecting(
    projection: ProjectionGraph, weighing: Weights, unet: UNetShape, weights: Weights
) -> onnx.ModelProto:
    """Return the whole network with inputs raw (n, c, z, y, x), low, high; outputs have one plane.

    Raises
    ------
    ModelError
        A convolution is missing or has another shape than the architecture wants.
    """
    _check_shapes(projection, weighing)
    plane = compose.add_prefix(build(unet, weights), "plane_", rename_inputs=True, rename_outputs=True)
    graph = OnnxBuilder()
    _keep_constants(graph, projection, weighing)
    _weigh(graph, projection)
    graph.nodes += [_rewired(node) for node in plane.graph.node]
    graph.constants += plane.graph.initializer
    for head in heads(unet):
        graph.add("Unsqueeze", f"plane_{head}", "axis_z", output=head)
    model = helper.make_model(
        graph.graph("projecting_care", _inputs(projection), _outputs(unet)),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="care_live",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _check_shapes(projection: ProjectionGraph, weighing: Weights) -> None:
    found = tuple(convolution.weight.shape for convolution in weighing)
    if found != projection.shapes:
        raise ModelError(f"the projecting convolutions are {found}, the architecture needs {projection.shapes}")


def _weigh(graph: OnnxBuilder, projection: ProjectionGraph) -> None:
    """Write what turns raw counts into the weighted sum of planes, ``projected``, (n, c, y, x) counts."""
    low, high = (graph.add("Reshape", bound, "per_channel", output=f"{bound}_per_channel") for bound in ("low", "high"))
    counts = graph.add("Cast", "raw", output="counts", to=TensorProto.FLOAT)
    range_counts = graph.add("Sub", high, low, output="range_counts")
    source = graph.add("Div", graph.add("Sub", counts, low, output="above_low"), range_counts, output="normalised")
    for i, step in enumerate(_steps(projection)):
        source = step.write(graph, source, f"weigh_{i}", projection)
    weights = graph.add("Softmax", source, output="plane_weights", axis=2)
    weighted = graph.add("Mul", counts, weights, output="weighted")
    graph.add("ReduceSum", weighted, "axis_z", output="projected", keepdims=0)


@dataclass(frozen=True, slots=True)
class _Step:
    """One layer of the weighing network."""

    kind: str
    number: int = 0
    """Of a convolution."""

    def write(self, graph: OnnxBuilder, source: str, output: str, projection: ProjectionGraph) -> str:
        if self.kind == "pool":
            window = list(projection.pool)
            return graph.add("MaxPool", source, output=output, kernel_shape=window, strides=window)
        if self.kind == "upsample":
            nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return graph.add("Resize", source, "", "pool_factors", output=output, **nearest)
        is_last = self.kind == "last"
        inputs = (source, f"weigh_weight_{self.number}", f"weigh_bias_{self.number}")
        settings = {"kernel_shape": list(projection.kernel), "pads": [size // 2 for size in projection.kernel] * 2}
        linear = graph.add("Conv", *inputs, output=output if is_last else f"{output}_linear", **settings)
        return linear if is_last else graph.add("Relu", linear, output=output)


def _steps(projection: ProjectionGraph) -> Iterator[_Step]:
    numbers = iter(range(len(projection.shapes)))

    def level() -> Iterator[_Step]:
        for _ in range(projection.convolutions):
            yield _Step("convolve", next(numbers))

    for _ in range(projection.depth):
        yield from level()
        yield _Step("pool")
    yield from level()
    for _ in range(projection.depth):
        yield _Step("upsample")
        yield from level()
    yield _Step("last", next(numbers))


def _keep_constants(graph: OnnxBuilder, projection: ProjectionGraph, weighing: Sequence[ConvolutionWeights]) -> None:
    graph.constant(np.array([1, -1, 1, 1, 1], np.int64), "per_channel")
    graph.constant(np.array([2], np.int64), "axis_z")
    graph.constant(np.array([1, 1, *projection.pool], np.float32), "pool_factors")
    for i, convolution in enumerate(weighing):
        graph.constant(convolution.weight, f"weigh_weight_{i}")
        graph.constant(convolution.bias, f"weigh_bias_{i}")


def _rewired(node: onnx.NodeProto) -> onnx.NodeProto:
    """Feed the U-Net the projected counts and the range of the whole network."""
    outer = {"plane_raw": "projected", "plane_low": "low", "plane_high": "high"}
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [outer.get(name, name) for name in node.input]
    return copy


def _inputs(projection: ProjectionGraph) -> list[onnx.ValueInfoProto]:
    n = projection.channels_in
    return [
        helper.make_tensor_value_info("raw", TensorProto.UINT16, ["n", n, "z", "y", "x"]),
        helper.make_tensor_value_info("low", TensorProto.FLOAT, [n]),
        helper.make_tensor_value_info("high", TensorProto.FLOAT, [n]),
    ]


def _outputs(unet: UNetShape) -> list[onnx.ValueInfoProto]:
    shape = ["n", unet.channels_out, 1, "y", "x"]
    return [helper.make_tensor_value_info(head, TensorProto.FLOAT, shape) for head in heads(unet)]
