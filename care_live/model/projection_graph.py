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
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from care_live.errors import ModelError
from care_live.model.unet_graph import IR_VERSION, OPSET, ConvolutionWeights, UNetShape, Weights, build, heads


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
    nodes = list(_weigh(projection))
    nodes += [_rewired(node) for node in plane.graph.node]
    nodes += [helper.make_node("Unsqueeze", [f"plane_{head}", "axis_z"], [head]) for head in heads(unet)]
    constants = [*_constants(projection, weighing), *plane.graph.initializer]
    model = helper.make_model(
        helper.make_graph(nodes, "projecting_care", _inputs(projection), _outputs(unet), constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="care_live",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _check_shapes(projection: ProjectionGraph, weighing: Weights) -> None:
    found = tuple(convolution.weight.shape for convolution in weighing)
    if found != projection.shapes:
        raise ModelError(f"the projecting convolutions are {found}, the architecture wants {projection.shapes}")


def _weigh(projection: ProjectionGraph) -> Iterator[onnx.NodeProto]:
    """Yield the nodes from raw counts to the weighted sum of planes, ``projected``, (n, c, y, x) counts."""
    for bound in ("low", "high"):
        yield helper.make_node("Reshape", [bound, "per_channel"], [f"{bound}_per_channel"])
    yield helper.make_node("Cast", ["raw"], ["counts"], to=TensorProto.FLOAT)
    yield helper.make_node("Sub", ["high_per_channel", "low_per_channel"], ["range_counts"])
    yield helper.make_node("Sub", ["counts", "low_per_channel"], ["above_low"])
    yield helper.make_node("Div", ["above_low", "range_counts"], ["normalised"])
    source = "normalised"
    for i, step in enumerate(_steps(projection)):
        yield from step.nodes(source, f"weigh_{i}", projection)
        source = f"weigh_{i}"
    yield helper.make_node("Softmax", [source], ["plane_weights"], axis=2)
    yield helper.make_node("Mul", ["counts", "plane_weights"], ["weighted"])
    yield helper.make_node("ReduceSum", ["weighted", "axis_z"], ["projected"], keepdims=0)


@dataclass(frozen=True, slots=True)
class _Step:
    """One layer of the weighing network."""

    kind: str
    number: int = 0
    """Of a convolution."""

    def nodes(self, source: str, output: str, projection: ProjectionGraph) -> Iterator[onnx.NodeProto]:
        if self.kind == "pool":
            window = list(projection.pool)
            yield helper.make_node("MaxPool", [source], [output], kernel_shape=window, strides=window)
        elif self.kind == "upsample":
            nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            yield helper.make_node("Resize", [source, "", "pool_factors"], [output], **nearest)
        else:
            rectify = self.kind == "convolve"
            linear = f"{output}_linear" if rectify else output
            inputs = [source, f"weigh_weight_{self.number}", f"weigh_bias_{self.number}"]
            pads = [size // 2 for size in projection.kernel] * 2
            yield helper.make_node("Conv", inputs, [linear], kernel_shape=list(projection.kernel), pads=pads)
            if rectify:
                yield helper.make_node("Relu", [linear], [output])


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


def _constants(projection: ProjectionGraph, weighing: Sequence[ConvolutionWeights]) -> Iterator[onnx.TensorProto]:
    def constant(name: str, value: NDArray[np.float32] | NDArray[np.int64]) -> onnx.TensorProto:
        return numpy_helper.from_array(value, name)

    yield constant("per_channel", np.array([1, -1, 1, 1, 1], np.int64))
    yield constant("axis_z", np.array([2], np.int64))
    yield constant("pool_factors", np.array([1, 1, *projection.pool], np.float32))
    for i, convolution in enumerate(weighing):
        yield constant(f"weigh_weight_{i}", convolution.weight)
        yield constant(f"weigh_bias_{i}", convolution.bias)


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
