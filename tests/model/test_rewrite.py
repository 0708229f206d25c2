"""Every rewriting leaves the function as it was, by numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from care_live.errors import ModelError
from care_live.model import rewrite
from tests.make.seeded_unets import RANGE, counts, run, seeded

SHAPE = (1, 1, 8, 16, 16)


def worst(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(ours[name] - theirs[name]).max() / np.abs(theirs[name]).max()) for name in theirs)


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        ({"filters": 4}, SHAPE),
        ({"filters": 4, "pool": (1, 2, 2)}, (1, 1, 5, 16, 16)),
        ({"axes": "YX", "kernel": (5, 5), "pool": (2, 2), "filters": 4}, (1, 1, 32, 32)),
    ],
    ids=["3d", "z-not-pooled", "2d-kernel-5"],
)
def test_a_transposed_decoder_computes_the_same(architecture: dict[str, object], shape: tuple[int, ...]) -> None:
    model = seeded(**architecture)
    rewritten = rewrite.transpose_decoder(model)
    kinds = {node.op_type for node in rewritten.graph.node}
    assert "ConvTranspose" in kinds and not kinds & {"Resize", "Concat"}
    inputs = {"raw": counts(shape), **RANGE}
    assert worst(run(rewritten, inputs), run(model, inputs)) < 1e-6


def test_a_decoder_that_interpolates_stays_as_it_is() -> None:
    model = seeded(filters=4)
    for node in model.graph.node:
        if node.op_type == "Resize":
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("mode", "linear"))
    rewritten = rewrite.transpose_decoder(model)
    assert [node.op_type for node in rewritten.graph.node] == [node.op_type for node in model.graph.node]


def test_spreading_a_kernel_can_be_undone() -> None:
    weight = np.random.default_rng(0).standard_normal((3, 2, 3, 5, 3)).astype(np.float32)
    spread = rewrite.spread_weight(weight, (2, 2, 1))
    gathered = rewrite.gathered_weight(spread, (2, 2, 1))
    assert gathered is not None
    assert np.abs(gathered - weight).max() < 1e-6
    other = np.random.default_rng(1).standard_normal(spread.shape).astype(np.float32)
    assert rewrite.gathered_weight(other, (2, 2, 1)) is None


def test_fixed_shapes_fold_what_depends_on_them_alone() -> None:
    model = seeded(filters=4)
    fixed = rewrite.with_shapes(model, {"raw": SHAPE, "low": (1,), "high": (1,)})
    assert rewrite.shapes_of(fixed)["bottom_1"] == (1, 8, 2, 4, 4)
    inputs = {"raw": counts(SHAPE), **RANGE}
    assert worst(run(fixed, inputs), run(model, inputs)) == 0


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="does not fit"):
        rewrite.with_shapes(seeded(filters=4), {"raw": (1, 1, 7, 16, 16), "low": (1,), "high": (1,)})
    with pytest.raises(ModelError, match="no input image"):
        rewrite.with_shapes(seeded(filters=4), {"image": SHAPE})


def test_batch_norm_disappears_into_the_convolution() -> None:
    random = np.random.default_rng(0)
    weights = {
        "weight": random.standard_normal((4, 2, 3, 3)),
        **{name: random.random(4) + 0.5 for name in ("gain", "offset", "mean", "variance")},
    }
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["c"], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["c", "gain", "offset", "mean", "variance"], ["n"], epsilon=1e-3),
        helper.make_node("Relu", ["n"], ["y"]),
    ]
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "norm",
        [helper.make_tensor_value_info("x", floats, [1, 2, 8, 8])],
        [helper.make_tensor_value_info("y", floats, [1, 4, 8, 8])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    folded = rewrite.fold_batch_norm(model)
    assert [node.op_type for node in folded.graph.node] == ["Conv", "Relu"]
    inputs = {"x": random.standard_normal((1, 2, 8, 8)).astype(np.float32)}
    assert worst(run(folded, inputs), run(model, inputs)) < 1e-6
