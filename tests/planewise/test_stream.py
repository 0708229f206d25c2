"""What comes out of a stream, plane by plane, is what one run over the whole volume gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from care_live.backends.session import Options
from care_live.errors import RestoreError
from care_live.model import rewrite
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.planewise.plan import StreamPlan, plan_live
from care_live.planewise.stream import PlanSessions
from care_live.tiling import margins, pad
from tests.make.seeded_unets import counts, run, seeded

SPAN = Span(100.0, 3000.0)
SMALL = Options(threads=1)


def card(**fields: object) -> ModelCard:
    given = {"name": "seeded", "divisor": (4, 4, 4), "halo_px": (24, 24, 24), "heads": ("mean", "laplace_scale")}
    return ModelCard(**{**given, **fields})


def whole(model: onnx.ModelProto, raw: np.ndarray, about: ModelCard) -> dict[str, np.ndarray]:
    """Restore (c, z, y, x) in one run, padded along z as the card says."""
    around = [*margins(raw.shape[1:2], about.divisor[:1], about.boundary), (0, 0), (0, 0)]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    field = pad(raw[None].astype(dtype), around, about.boundary, [SPAN.low] * raw.shape[0])
    ends = {name: np.full(raw.shape[0], end, np.float32) for name, end in (("low", SPAN.low), ("high", SPAN.high))}
    before = around[0][0]
    return {
        head: array[0, :, before : before + raw.shape[1]] for head, array in run(model, {"raw": field, **ends}).items()
    }


def pipeline(model: onnx.ModelProto, about: ModelCard, shape: tuple[int, ...]) -> PlanSessions:
    plan = plan_live(model, about, shape[2:], shape[1])
    assert isinstance(plan, StreamPlan), plan
    return PlanSessions(plan, SMALL)


def streamed(ready: PlanSessions, raw: np.ndarray, cuts: list[int]) -> dict[str, np.ndarray]:
    """Push the planes in pieces of the given sizes and put together what each push said was final."""
    about = ready.plan
    into = {head: np.full((1, *raw.shape[1:]), np.nan, np.float32) for head in about.program.results}
    stream = ready.begin([SPAN] * raw.shape[0], into)
    final, z = [], 0
    for n in cuts:
        first = stream.n_restored
        stream.push(raw[:, z : z + n].swapaxes(0, 1))
        final.append({head: array[:, first : stream.n_restored].copy() for head, array in into.items()})
        z += n
    stream.finish()
    return {head: np.concatenate([planes[head] for planes in final], axis=1) for head in into}


def worst(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(ours[head] - theirs[head]).max() / np.abs(theirs[head]).max()) for head in theirs)


@pytest.mark.parametrize("n_planes", [1, 2, 3, 4, 5, 9, 16, 30])
@pytest.mark.parametrize("boundary", ["zero", "reflect"])
def test_any_number_of_planes_equals_the_whole_volume(n_planes: int, boundary: str) -> None:
    model, about, raw = seeded(filters=4), card(boundary=boundary), counts((1, n_planes, 8, 12))
    ours = streamed(pipeline(model, about, raw.shape), raw, [1] * n_planes)
    assert worst(ours, whole(model, raw, about)) < 2e-6


@pytest.mark.parametrize(
    ("architecture", "fields"),
    [
        ({"pool": (1, 2, 2)}, {"divisor": (1, 4, 4)}),
        ({"depth": 1, "probabilistic": False}, {"divisor": (2, 2, 2), "heads": ("mean",)}),
        ({"depth": 3}, {"divisor": (8, 8, 8)}),
        ({"kernel": (5, 3, 3)}, {}),
        ({"channels_in": 3, "residual": False, "output": "normalised"}, {"channels_in": ("a", "b", "c")}),
        ({"raw_type": "float32"}, {}),
        ({"depth": 1, "filters": 32}, {"divisor": (2, 2, 2)}),
    ],
    ids=["z-not-pooled", "depth-1-mean-only", "depth-3", "kernel-5-in-z", "three-channels", "float-input", "wide"],
)
def test_every_architecture_streams(architecture: dict[str, object], fields: dict[str, object]) -> None:
    model, about = seeded(**{"filters": 4, **architecture}), card(**fields)
    raw = counts((len(about.channels_in), 19, 16, 8))
    assert worst(streamed(pipeline(model, about, raw.shape), raw, [1] * 19), whole(model, raw, about)) < 2e-6


def test_a_transposed_decoder_streams() -> None:
    model, about, raw = seeded(filters=4), card(), counts((1, 14, 8, 12))
    transposed = rewrite.transpose_decoder(model)
    assert worst(streamed(pipeline(transposed, about, raw.shape), raw, [14]), whole(model, raw, about)) < 2e-6


def test_how_planes_come_does_not_change_a_bit() -> None:
    model, about, raw = seeded(filters=4), card(), counts((1, 18, 8, 8))
    ready = pipeline(model, about, raw.shape)
    singly = streamed(ready, raw, [1] * 18)
    for cuts in ([18], [5, 1, 12], [17, 1]):
        assert worst(streamed(ready, raw, cuts), singly) == 0


def test_planes_come_out_before_the_last_one_is_in() -> None:
    raw = counts((1, 40, 8, 8))
    ready = pipeline(seeded(filters=4), card(), raw.shape)
    into = {head: np.zeros((1, 40, 8, 8), np.float32) for head in ("mean", "laplace_scale")}
    stream = ready.begin([SPAN], into)
    stream.push(raw[:, :39].swapaxes(0, 1))
    assert stream.n_restored >= 40 - 1 - ready.plan.lookahead
    assert 16 <= ready.plan.lookahead <= 28  # packs of two planes wait for the second one


def test_an_incomplete_stream_is_no_volume() -> None:
    raw = counts((1, 8, 8, 8))
    ready = pipeline(seeded(filters=4), card(), raw.shape)
    into = {head: np.zeros((1, 8, 8, 8), np.float32) for head in ("mean", "laplace_scale")}
    stream = ready.begin([SPAN], into)
    stream.push(raw[:, :5].swapaxes(0, 1))
    with pytest.raises(RestoreError, match="ended after 5"):
        stream.finish()
    with pytest.raises(RestoreError, match="planes"):
        stream.push(raw[:, :5].swapaxes(0, 1))
    stream.abandon()
    with pytest.raises(RestoreError, match="abandoned"):
        stream.push(raw[:, 5:6].swapaxes(0, 1))


def test_two_streams_of_one_pipeline_do_not_mix() -> None:
    model, about = seeded(filters=4), card()
    first, second = counts((1, 12, 8, 8), 1), counts((1, 12, 8, 8), 2)
    ready = pipeline(model, about, first.shape)
    outs = [{head: np.zeros((1, 12, 8, 8), np.float32) for head in about.heads} for _ in range(2)]
    streams = [ready.begin([SPAN], out) for out in outs]
    for z in range(12):
        for stream, raw in zip(streams, (first, second), strict=True):
            stream.push(raw[:, z : z + 1].swapaxes(0, 1))
    for out, raw in zip(outs, (first, second), strict=True):
        assert worst(out, whole(model, raw, about)) < 2e-6


def test_quadrature_over_members_streams_along_its_own_axis() -> None:
    """Values with an axis in front of (n, c, z, y, x), such as the nodes of an ensemble's disagreement."""
    model, floats = seeded(filters=4), onnx.TensorProto.FLOAT
    nodes = np.linspace(0, 2, 5, dtype=np.float32).reshape(5, 1, 1, 1, 1, 1)
    model.graph.initializer.extend(
        [
            onnx.numpy_helper.from_array(nodes, "nodes"),
            onnx.numpy_helper.from_array(np.array([0], np.int64), "first_axis"),
        ]
    )
    model.graph.node.extend(
        [
            onnx.helper.make_node("Shape", ["mean"], ["size"]),
            onnx.helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
            onnx.helper.make_node("Mul", ["laplace_scale", "nodes"], ["scaled"]),
            onnx.helper.make_node("ReduceSum", ["scaled", "first_axis"], ["summed"], keepdims=0),
            onnx.helper.make_node("Add", ["zeros", "summed"], ["disagreement"]),
        ]
    )
    shape = ["n", 1, "z", "y", "x"]
    model.graph.output.append(onnx.helper.make_tensor_value_info("disagreement", floats, shape))
    about = card(heads=("mean", "laplace_scale", "disagreement"))
    raw = counts((1, 8, 8, 8))
    assert worst(streamed(pipeline(model, about, raw.shape), raw, [3, 5]), whole(model, raw, about)) < 2e-6
