"""Complete volumes plane by plane: a session like any other, with the plain one's results."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from care_live.backends.session import OnnxSession, Options, Session
from care_live.model import rewrite
from care_live.planewise.plan import StreamPlan, compile_plan
from care_live.planewise.schedule import whole_boundaries
from care_live.planewise.whole_volume import PlanewiseSession, open_session
from tests.make.seeded_unets import RANGE, counts, seeded


def opened(model: onnx.ModelProto, shape: tuple[int, ...]) -> tuple[Session, OnnxSession]:
    shapes = {"raw": shape, "low": (shape[1],), "high": (shape[1],)}
    content, options = model.SerializeToString(), Options(threads=1)
    return open_session(content, shapes, options), OnnxSession(content, shapes, options)


def worst(ours: tuple[np.ndarray, ...], theirs: tuple[np.ndarray, ...]) -> float:
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, theirs, strict=True))


def with_transposed(change: float) -> onnx.ModelProto:
    """Return a network with a transposed decoder whose kernels are no upsampled ones any more."""
    model = rewrite.transpose_decoder(seeded(filters=4))
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_below"):
            weight = numpy_helper.to_array(tensor) * np.random.default_rng(0).uniform(1, 1 + change, tensor.dims)
            tensor.CopyFrom(numpy_helper.from_array(weight.astype(np.float32), tensor.name))
    return model


def with_mean_pooling() -> onnx.ModelProto:
    model = seeded(filters=4)
    for node in model.graph.node:
        node.op_type = node.op_type.replace("MaxPool", "AveragePool")
    return model


@pytest.mark.parametrize(
    "model", [seeded(filters=4), with_transposed(0.5), with_mean_pooling()], ids=["plain", "transposed", "mean-pooling"]
)
def test_a_batch_of_volumes_equals_the_plain_session(model: onnx.ModelProto) -> None:
    raw = counts((2, 1, 20, 8, 12))
    ours, plain = opened(model, raw.shape)
    assert isinstance(ours, PlanewiseSession)
    inputs = {"raw": raw, **RANGE}
    wanted = tuple(array.copy() for array in plain.run(inputs))
    assert ours.outputs == plain.outputs
    assert worst(ours.run(inputs), wanted) < 2e-6
    into = [np.full_like(array, np.nan) for array in wanted]
    assert ours.run(inputs, into)[0] is into[0]
    assert worst(tuple(into), wanted) < 2e-6


@pytest.mark.parametrize("transposed", [False, True], ids=["joined", "transposed"])
@pytest.mark.parametrize(
    ("filters", "kernel"), [(32, (3, 3, 3)), (64, (3, 3, 3)), (32, (5, 3, 3))], ids=["five", "four", "eight-of-ten"]
)
@pytest.mark.parametrize(("pool", "n_planes"), [((2, 2, 2), 12), ((1, 2, 2), 5)], ids=["z-pooled", "odd-planes"])
def test_wide_convolutions_share_products_of_neighbouring_planes(
    pool: tuple[int, ...], n_planes: int, filters: int, kernel: tuple[int, ...], transposed: bool
) -> None:
    model = seeded(filters=filters, depth=1, pool=pool, kernel=kernel)
    model = rewrite.transpose_decoder(model) if transposed else model
    raw = counts((1, 1, n_planes, 8, 8))
    ours, plain = opened(model, raw.shape)
    inputs = {"raw": raw, **RANGE}
    assert worst(ours.run(inputs), plain.run(inputs)) < 2e-6


def products(model: onnx.ModelProto, n_planes: int, *, live: bool) -> int:
    made = compile_plan(model, (1, 1, n_planes, 8, 8), range(n_planes), whole_boundaries(n_planes, 16), live=live)
    assert isinstance(made, StreamPlan), made
    return sum(step.products for step in made.steps)


@pytest.mark.parametrize(
    ("filters", "kernel", "most"),
    [(32, (3, 3, 3), 0.9), (64, (3, 3, 3), 0.8), (32, (5, 3, 3), 0.9)],
    ids=["five-of-six", "four-of-six", "eight-of-ten"],
)
def test_planes_that_may_wait_take_fewer_products(filters: int, kernel: tuple[int, ...], most: float) -> None:
    model = seeded(filters=filters, depth=1, kernel=kernel)
    assert products(model, 12, live=False) < most * products(model, 12, live=True)


def test_a_network_that_is_no_row_of_planes_runs_as_it_is() -> None:
    flat = seeded(axes="YX", kernel=(3, 3), pool=(2, 2), filters=4)
    assert isinstance(opened(flat, (1, 1, 8, 8))[0], OnnxSession)
    odd = seeded(filters=4)
    node = helper.make_node("Softmax", ["down0_0_linear"], ["down0_0"], axis=2)
    place = next(i for i, found in enumerate(odd.graph.node) if found.output[0] == "down0_0")
    odd.graph.node[place].CopyFrom(node)
    assert isinstance(opened(odd, (1, 1, 8, 8, 8))[0], OnnxSession)


def test_results_belong_to_the_caller() -> None:
    raw = counts((1, 1, 4, 8, 8))
    ours, _ = opened(seeded(filters=4), raw.shape)
    first = ours.run({"raw": raw, **RANGE})
    kept = [array.copy() for array in first]
    ours.run({"raw": raw[..., ::-1], **RANGE})
    assert all((array == copy).all() for array, copy in zip(first, kept, strict=True))
