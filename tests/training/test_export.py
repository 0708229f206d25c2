"""Export: one file whose numbers are torch's, whose halo is measured, and which restores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from care_live.backends.session import OnnxSession, Options
from care_live.errors import ModelError
from care_live.model import file
from care_live.percentiles import Span
from care_live.planewise.plan import StreamPlan, plan_live
from care_live.planewise.stream import PlanSessions
from care_live.restore import probe
from care_live.restore.tiled import Network
from care_live.training.export import export_members
from care_live.training.parity import open_network
from tests.make import mixture
from tests.make.recipes import untrained
from tests.training.conftest import small_recipe

pytestmark = pytest.mark.slow  # torch takes some seconds to trace a graph

CASES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "3d": ({"decoder": "transpose"}, (4, 8, 8)),
    "3d, nearest, pooled in z": ({"pool_px": [2, 2, 2]}, (8, 8, 8)),
    "2d": ({"axes": "YX", "pool_px": [2, 2], "kernel_px": 5, "decoder": "transpose"}, (16, 16)),
    "standardised": ({"standardise": True, "initialise": "uniform"}, (4, 8, 8)),
    "two channels": ({"n_channels_in": 2, "n_channels_out": 2}, (4, 8, 8)),
    "2 to 1": ({"n_channels_in": 2, "n_channels_out": 1, "residual": False, "probabilistic": False}, (4, 8, 8)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_numbers_are_those_of_torch(tmp_path: Path, case: tuple[dict[str, Any], tuple[int, ...]]) -> None:
    changes, _ = case
    loss = {} if changes.get("probabilistic", True) else {"loss": "mae"}
    patch = [16, 16] if changes.get("axes") == "YX" else [4, 16, 16]
    recipe = small_recipe(tmp_path, network=changes, fit={**loss, "patch_px": patch})
    card = export_members(untrained(recipe), recipe, tmp_path / "net.onnx")  # compares on three shapes
    assert file.read_card(tmp_path / "net.onnx") == card
    assert list(tmp_path.glob("*")) == [tmp_path / "net.onnx"]  # one file, no weights beside it
    assert b".py" not in (tmp_path / "net.onnx").read_bytes()  # nor where on this machine it was traced
    assert card.divisor == recipe.network.divisor
    assert card.output == (
        "counts" if changes.get("n_channels_in", 1) == changes.get("n_channels_out", 1) else "normalised"
    )


def test_the_halo_is_the_known_one(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path, network={"depth": 2})
    card = export_members(untrained(recipe), recipe, tmp_path / "net.onnx")
    assert card.halo_px == (10, 24, 24)


@pytest.mark.parametrize("look_ahead", [0, 3])
def test_restored_planes_follow_by_as_many_planes_as_are_looked_ahead(tmp_path: Path, look_ahead: int) -> None:
    network = {"look_ahead": look_ahead, "filters": 16}  # fewer are restored two planes at once, and wait longer
    recipe = small_recipe(tmp_path, network=network)  # of its six kernels, 3 or 6 look behind only; a join is one
    card = export_members(untrained(recipe), recipe, tmp_path / "net.onnx")
    assert card.halo_px[0] == 12 - look_ahead
    model = file.load(tmp_path / "net.onnx")
    assert not [node.op_type for node in model.graph.node if node.op_type == "Pad"]
    plan = plan_live(model, card, (16, 16), 20)
    assert isinstance(plan, StreamPlan), plan
    assert plan.lookahead == look_ahead
    raw = np.random.default_rng(0).integers(100, 900, (1, 1, 20, 16, 16)).astype(np.uint16)
    whole = Network(tmp_path / "net.onnx", card, Options(threads=1), open_session=OnnxSession)
    wanted = whole.run(raw, [Span(100, 800)])
    into = {head: np.empty((1, 20, 16, 16), np.float32) for head in card.heads}
    stream = PlanSessions(plan, Options(threads=1)).begin([Span(100, 800)], into)
    stream.push(raw[0].swapaxes(0, 1)[:16])  # it works on four planes at a time
    assert stream.n_restored == 16 - look_ahead
    stream.push(raw[0].swapaxes(0, 1)[16:])
    stream.finish()
    for head, values in zip(card.heads, wanted, strict=True):
        np.testing.assert_allclose(into[head], values[0], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_exported_passes_the_check_at_opening(tmp_path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    recipe = small_recipe(tmp_path, network={"depth": 2, "batch_norm": False})
    card = export_members(untrained(recipe), recipe, tmp_path / "net.onnx")
    probe.check(open_network(tmp_path / "net.onnx", card), card)
    short = card.model_copy(update={"halo_px": (card.halo_px[0] - 1, *card.halo_px[1:])})
    with pytest.raises(ModelError, match="reaches"):
        probe.check(open_network(tmp_path / "net.onnx", short), short)


def test_an_ensemble_in_one_file(tmp_path: Path) -> None:
    alike = {"residual": True, "standardise": False}  # untrained members are not too far apart for D's quadrature
    recipe = small_recipe(tmp_path, network={"axes": "YX", "pool_px": [2, 2], **alike}, fit={"patch_px": [16, 16]})
    members = untrained(recipe, 3)
    card = export_members(members, recipe, tmp_path / "net.onnx")
    assert (card.members, card.heads) == (3, ("mean", "laplace_scale", "disagreement"))
    raw = np.random.default_rng(0).integers(100, 900, (1, 1, 16, 24)).astype(np.uint16)
    network = Network(tmp_path / "net.onnx", card, Options(threads=1), open_session=OnnxSession)
    mean, scale, disagreement = network.run(raw, [Span(100, 800)])
    normalised = torch.from_numpy((raw.astype(np.float32) - 100) / 700)
    with torch.no_grad():
        predictions = [member(normalised) for member in members]
    means, scales = (np.stack([prediction[part].numpy() for prediction in predictions]) for part in (0, 1))
    assert np.allclose(mean, 700 * means.mean(axis=0) + 100, atol=0.02)
    assert np.allclose(scale, 700 * mixture.scale_of(means, scales), atol=0.02)
    assert np.allclose(disagreement, mixture.disagreement(means, scales), atol=0.005)


def test_a_projection_keeps_no_plane(tmp_path: Path) -> None:
    network = {"axes": "YX", "pool_px": [2, 2], "projection": True, "projection_depth": 1, "projection_filters": 2}
    recipe = small_recipe(tmp_path, network=network)
    card = export_members(untrained(recipe), recipe, tmp_path / "net.onnx")
    assert (card.task, card.axes, card.divisor, card.halo_px[0]) == ("project", "ZYX", (1, 2, 2), 0)
    raw = np.full((1, 1, 5, 8, 8), 300, np.uint16)
    mean, scale = Network(tmp_path / "net.onnx", card, Options(threads=1), open_session=OnnxSession).run(
        raw, [Span(0, 9)]
    )
    assert mean.shape == scale.shape == (1, 1, 1, 8, 8)
