"""Networks of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from care_live.cli.importing import import_command
from care_live.errors import ConfigError, ModelError


def convolution(kernel: int = 3, *, opset: int = 20, size: int | str = 32, extra: str | None = None) -> onnx.ModelProto:
    """A network of a convolution, a pooling and an upsampling, for fields of one size."""
    random = np.random.default_rng(2)
    weights = [
        numpy_helper.from_array(random.normal(0, 0.3, (1, 1, kernel, kernel)).astype("f4"), "weight"),
        numpy_helper.from_array(np.array([1, 1, 2, 2], "f4"), "factors"),
    ]
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["smooth"], pads=[kernel // 2] * 4),
        helper.make_node("MaxPool", ["smooth"], ["coarse"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node(
            "Resize", ["coarse", "", "factors"], ["fine"], coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        helper.make_node(extra or "Identity", ["fine"], ["pooled"]),
        helper.make_node("Add", ["smooth", "pooled"], ["better"]),
    ]  # fmt: skip
    images = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, size, size]) for n in ("image", "better")]
    graph = helper.make_graph(nodes, "foreign", images[:1], images[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def saved(path: Path, network: onnx.ModelProto) -> Path:
    onnx.save_model(network, path)
    return path


def reference(pixels: np.ndarray, network: onnx.ModelProto) -> np.ndarray:
    """What the network gives for a normalised (y, x) image."""
    loose = describe_loose(network, pixels.shape)
    (result,) = onnx.reference.ReferenceEvaluator(loose).run(None, {"image": pixels[np.newaxis, np.newaxis]})
    return result[0, 0]


def describe_loose(network: onnx.ModelProto, shape: tuple[int, ...]) -> onnx.ModelProto:
    for value in (*network.graph.input, *network.graph.output):
        for dim, size in zip(value.type.tensor_type.shape.dim, (1, 1, *shape), strict=True):
            dim.dim_value = size
    return network


def run(*arguments: object) -> tuple[int, str]:
    """Run the command; an error of ours is what main() would print."""
    outcome = CliRunner().invoke(import_command, [str(argument) for argument in arguments])
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        assert isinstance(outcome.exception, ConfigError | ModelError), outcome.exception
        return outcome.exception.exit_code, str(outcome.exception)
    return outcome.exit_code, outcome.output
