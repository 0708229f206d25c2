"""A step is a file that computes what its lines say, with its own constants and no others."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto

from care_live.planewise import emit
from care_live.planewise.schedule import StepGraph
from tests.make.seeded_unets import options

SHAPE = (1, 1, 2, 3)
STEP = StepGraph(
    lines=(
        ("Cast", ("p0",), "wide", (("to", TensorProto.FLOAT),)),
        ("Mul", ("wide", "twice"), "doubled", ()),
        ("ReduceSum", ("doubled", "along"), "sum", (("keepdims", 1),)),
    ),
    inputs=(("p0", SHAPE),),
    outputs=(("sum", (1, 1, 2, 1)),),
)
CONSTANTS = {"twice": np.array(2, np.float32), "along": np.array([3], np.int64), "of another step": np.zeros(9)}


def written() -> bytes:
    return emit.write(STEP, CONSTANTS, opset=20, raw={"p0": TensorProto.UINT16})


def test_a_step_computes_what_its_lines_say() -> None:
    session = ort.InferenceSession(written(), options(), providers=["CPUExecutionProvider"])
    plane = np.arange(6, dtype=np.uint16).reshape(SHAPE)
    (total,) = session.run(["sum"], {"p0": plane})
    assert (total == 2.0 * plane.sum(axis=3, keepdims=True)).all()


def test_a_step_has_its_own_constants_and_types_alone() -> None:
    graph = onnx.load_from_string(written()).graph
    assert {one.name for one in graph.initializer} == {"twice", "along"}
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.UINT16
    assert graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
