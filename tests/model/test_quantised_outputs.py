"""What leaves a device in 3 bytes means nearly what left it in 8, and what is no number stays none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from care_live.errors import ModelError
from care_live.maps import Head
from care_live.model import file
from care_live.model.foreign import load_foreign, loosened
from care_live.model.quantised_outputs import coded, ends_of, outputs_of, read, slack
from tests.conftest import need_data
from tests.make.merged import merge
from tests.make.seeded_unets import RANGE, counts, run, seeded

HEADS: dict[str, Head] = {"mean": "mean", "laplace_scale": "laplace_scale", "disagreement": "disagreement"}
LARGEST = float(np.finfo(np.float32).max)
ROUNDING = 3e-7
"""Of float32, in and out of the codes, relative to the largest number on the way."""


def passed_on(values: np.ndarray, head: Head) -> np.ndarray:
    """Send numbers through the codes of a graph that does nothing else."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape) for name in ("in", "out")]
    graph = helper.make_graph([helper.make_node("Identity", ["in"], ["out"])], "same", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    found = run(coded(model, {"out": head}), {"in": values.astype(np.float32)})
    return numbers(found, "out")


def numbers(found: dict[str, np.ndarray], name: str) -> np.ndarray:
    into = np.full(found[name].shape, -7, np.float32)
    read(found[name], found[ends_of(name)], into)
    return into


def within(got: np.ndarray, wanted: np.ndarray, head: Head) -> bool:
    allowed = slack(head, wanted) + ROUNDING * np.abs(wanted).max()
    return bool((np.abs(got - wanted) <= allowed).all())


def refused(model: onnx.ModelProto, inputs: dict[str, np.ndarray], heads: dict[str, Head]) -> list[str]:
    """Return the heads whose codes mean something else than the network says, or are larger than promised."""
    exact, found = run(model, inputs), run(coded(model, heads), inputs)
    types = {head: np.uint16 if head == "mean" else np.uint8 for head in HEADS}
    assert list(found)[: len(exact)] == list(exact)
    assert outputs_of(tuple(found)) == tuple(exact)
    return [
        name
        for name, head in heads.items()
        if found[name].dtype != types[head] or not within(numbers(found, name), exact[name], head)
    ]


def test_the_shipped_network() -> None:
    assert (
        refused(file.load(file.shipped()), {"raw": counts((1, 1, 16, 32, 32)), **RANGE}, dict(list(HEADS.items())[:2]))
        == []
    )


def test_five_members() -> None:
    model = merge([seeded(seed, filters=4) for seed in range(5)])
    assert refused(model, {"raw": counts((1, 1, 8, 16, 16)), **RANGE}, HEADS) == []


def test_a_flat_network_and_a_batch() -> None:
    model = seeded(axes="YX", kernel=(3, 3), pool=(2, 2), filters=4)
    assert refused(model, {"raw": counts((3, 1, 32, 32)), **RANGE}, dict(list(HEADS.items())[:2])) == []


def test_a_foreign_network_keeps_its_outputs_names() -> None:
    model = loosened(load_foreign(need_data("model_unet2d_nuclei_broad") / "weights.onnx"))
    (name,) = (output.name for output in model.graph.output)
    image = counts((1, 1, 64, 64)).astype(np.float32) / 4000
    assert refused(model, {model.graph.input[0].name: image}, {name: "mean"}) == []


def test_an_old_operator_set_is_refused_with_what_to_do() -> None:
    path = next(need_data("model_ufish_onnx").glob("*.onnx"))
    with pytest.raises(ModelError, match=r"operator set 11.*care-live import"):
        coded(file.load(path), {"output": "mean"})


def test_what_is_too_new_is_refused() -> None:
    model = seeded(filters=2)
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Gelu"
    with pytest.raises(ModelError, match="Gelu of operator set 20 is not what it was in 19"):
        coded(model, HEADS)


def test_outputs_that_are_not_named_or_not_float32_stay() -> None:
    model = seeded(filters=2)
    names = [output.name for output in coded(model, {"mean": "mean"}).graph.output]
    assert names == ["mean", "laplace_scale", "mean@ends"]
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    assert [output.name for output in coded(model, {"mean": "mean"}).graph.output] == ["mean", "laplace_scale"]


def test_the_given_network_is_left_as_it_is() -> None:
    model = seeded(filters=2)
    before = model.SerializeToString()
    coded(model, HEADS)
    assert model.SerializeToString() == before


def test_every_operator_has_a_kernel_on_cuda_in_the_oldest_version_that_we_take() -> None:
    """As far as a machine without one can tell: operator sets in which each operator last changed."""
    model = coded(seeded(filters=2), HEADS)
    tail = [node.op_type for node in model.graph.node if "@" in node.output[0] or "@" in node.input[0]]
    since = {op: onnx.defs.get_schema(op, model.opset_import[0].version, "").since_version for op in tail}
    assert since["ReduceMin"] == since["ReduceMax"] == 18
    assert not {"IsNaN", "IsInf"} & since.keys()
    types = {output.name: output.type.tensor_type.elem_type for output in model.graph.output}
    casts = [node.output[0] for node in model.graph.node if node.op_type == "Cast" and node.output[0] in types]
    assert sorted(casts) == ["laplace_scale", "mean"]  # nothing but the last step is in integers


MEANS = {
    "constant": np.full((1, 1, 2, 4, 4), 300.0),
    "zero": np.zeros((1, 1, 2, 4, 4)),
    "negative": np.linspace(-9e4, -3.0, 32).reshape(1, 1, 2, 4, 4),
    "huge": np.linspace(-LARGEST, LARGEST, 32, dtype=np.float64).reshape(1, 1, 2, 4, 4),
    "tiny": np.linspace(0, 1e-30, 32).reshape(1, 1, 2, 4, 4),
    "far from zero": 1e6 + np.linspace(0, 64, 32).reshape(1, 1, 2, 4, 4),
    "flat": np.linspace(0, 1, 35).reshape(1, 1, 5, 7),
}


@pytest.mark.parametrize("values", MEANS.values(), ids=MEANS)
def test_a_mean_is_within_half_a_step_and_its_ends_are_exact(values: np.ndarray) -> None:
    wanted = values.astype(np.float32)
    got = passed_on(wanted, "mean")
    span = float(wanted.max()) - float(wanted.min())
    off = np.abs(got.astype(np.float64) - wanted).max()
    assert off <= span / 131068 + ROUNDING * np.abs(wanted.astype(np.float64)).max()
    assert got.min() == wanted.min()


def test_half_a_step_is_what_it_costs() -> None:
    """Lest codes be finer than they say, and `slack` too wide to catch anything."""
    wanted = np.random.default_rng(0).random((1, 1, 8, 32, 32), np.float32)
    assert 0.9 < np.abs(passed_on(wanted, "mean") - wanted).max() / slack("mean", wanted) < 1.1
    share = np.abs(passed_on(wanted, "laplace_scale") / wanted - 1).max()
    assert 0.021 < share < 0.0221


@pytest.mark.parametrize("head", ["laplace_scale", "disagreement"])
@pytest.mark.parametrize("top", [1.0, 7e4, 1e38, 1e-30])
def test_a_scale_is_within_half_a_step_over_15_octaves(head: Head, top: float) -> None:
    wanted = (top * 2.0 ** -np.linspace(0, 15.8, 64)).astype(np.float32).reshape(1, 1, 4, 4, 4)
    got = passed_on(wanted, head)
    assert np.abs(got / wanted - 1).max() < 0.0221
    assert got.max() == pytest.approx(top, rel=1e-6)


def test_what_is_hardly_anything_counts_as_hardly_anything() -> None:
    values = np.array([0.0, 1e-9, 1.0, -2.0], np.float32).reshape(1, 1, 2, 2)
    assert passed_on(values, "disagreement").ravel() == pytest.approx([1.6645e-5, 1.6645e-5, 1, 1.6645e-5], rel=1e-3)
    assert (passed_on(0 * values, "disagreement") < 1e-40).all()


@pytest.mark.parametrize("head", ["mean", "laplace_scale", "disagreement"])
def test_what_is_no_number_stays_none_and_the_rest_is_as_it_was(head: Head) -> None:
    wanted = 5 + np.random.default_rng(1).random((2, 1, 4, 8, 8), np.float32)
    broken = wanted.copy()
    broken[0, 0, 1, 2, 3], broken[1, 0, 0, 0, 0], broken[1, 0, 3, 7, 7] = np.nan, np.inf, -np.inf
    got = passed_on(broken, head)
    assert (np.isnan(got) == ~np.isfinite(broken)).all()
    assert within(got[np.isfinite(broken)], wanted[np.isfinite(broken)], head)
    assert np.isnan(passed_on(np.full((1, 1, 4, 4), np.nan), head)).all()


@pytest.mark.parametrize("head", ["mean", "laplace_scale"])
def test_every_channel_has_its_own_ends(head: Head) -> None:
    dim = 1 + np.random.default_rng(2).random((2, 1, 4, 4), np.float32)
    bright = np.random.default_rng(3).random((2, 1, 4, 4), np.float32) * 6e4
    broken = np.concatenate([np.full_like(dim, np.nan), dim, bright], axis=1)
    got = passed_on(broken, head)
    assert np.isnan(got[:, 0]).all()
    assert within(got[:, 1], dim[:, 0], head)
    assert within(got[:, 2], bright[:, 0], head)


@pytest.mark.parametrize("shape", [(1, 1, 3, 300, 301), (2, 1, 70000), (1, 2, 1, 1, 1), (1, 1, 70001, 1)])
@pytest.mark.parametrize("strided", [False, True])
def test_reading_reaches_every_voxel_wherever_it_goes(shape: Sequence[int], strided: bool) -> None:
    random = np.random.default_rng(4)
    codes = random.integers(0, 65535, shape).astype(np.uint16)
    ends = np.float32([0, 65534, 65534]).repeat(shape[1]).reshape(3, shape[1])
    wide = np.full((*shape[:-1], shape[-1] + 3), -1, np.float32)
    into = wide[..., 1:-2] if strided else np.ascontiguousarray(wide[..., 1:-2])
    read(codes, ends, into)
    assert (into == codes).all()
    assert (wide[..., 0] == -1).all()
