"""Beginning with another network: a run, or an exported file; all of it, or gains and biases only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from care_live.errors import TrainingError
from care_live.model import file
from care_live.training.architecture import Standardised, build
from care_live.training.data.examples import Data
from care_live.training.data.patches import measured_patches
from care_live.training.export import export, load_member
from care_live.training.fit import Fitter, fit
from care_live.training.network_recipe import NetworkRecipe
from care_live.training.recipe import Recipe
from care_live.training.start import StartingPoint, begin, blind_to_past, keep_kernels, moved, open_start
from care_live.training.training_plan import begun_with
from tests.training.conftest import small_recipe


def trained(tmp_path: Path, data: Data, **network: Any) -> Recipe:
    recipe = small_recipe(tmp_path, network=network, fit={"n_updates": 6})
    fit(recipe, data, tmp_path / "run")
    return recipe


def patch() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).random((2, 1, 4, 16, 16)).astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("standardise", [False, True])
def test_a_network_begins_where_another_is(tmp_path: Path, small_data: Data, standardise: bool) -> None:
    recipe = trained(tmp_path, small_data, standardise=standardise, residual=not standardise)
    export(tmp_path / "run", tmp_path / "net.onnx")
    other = load_member(tmp_path / "run" / "member-0" / "best.pt", recipe)
    with torch.no_grad():
        wanted = other(patch())
    for path in (tmp_path / "run", tmp_path / "net.onnx"):
        start = open_start(path)
        assert (start.network.filters, start.network.depth, start.network.standardise) == (4, 1, standardise)
        assert start.network.residual is not standardise
        torch.manual_seed(11)
        network = build(recipe.network)
        if isinstance(network, Standardised):
            seen = measured_patches(recipe, small_data, n=64)
            assert seen is not None
            network.measure(*map(torch.from_numpy, seen))
        begin(network, start, member=0, seen=patch())
        with torch.no_grad():
            got = network.eval()(patch())
        for ours, theirs in zip(got, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_gains_are_learnt_and_kernels_stay(tmp_path: Path, small_data: Data) -> None:
    recipe = begun_with(trained(tmp_path, small_data), tmp_path / "run", gains_only=True)
    seen = measured_patches(recipe, small_data, n=8)
    assert seen is not None
    fitter = Fitter(recipe, member=0, seen=seen)
    before = {name: value.clone() for name, value in fitter.network.state_dict().items()}
    fitter.step(seen, 20)
    moved = {name for name, value in fitter.network.named_parameters() if not torch.equal(value, before[name])}
    assert moved
    assert all(before[name].ndim == 1 for name in moved)


def test_a_network_of_another_shape_is_refused_and_other_channels_are_not(tmp_path: Path, small_data: Data) -> None:
    trained(tmp_path, small_data)
    start = open_start(tmp_path / "run")
    several = small_recipe(tmp_path, network={"n_channels_in": 2, "n_channels_out": 2})
    begin(build(several.network), start, member=0, seen=patch())
    with pytest.raises(TrainingError, match="kernels fit"):
        begin(build(small_recipe(tmp_path, network={"filters": 6}).network), start, member=0, seen=patch())
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="no checkpoint"):
        open_start(tmp_path / "empty")


def test_only_gains_and_biases_have_gradients(tmp_path: Path) -> None:
    network = build(small_recipe(tmp_path).network)
    keep_kernels(network)
    assert {parameter.ndim for parameter in network.parameters() if parameter.requires_grad} == {1}


def start_of(network: nn.Module, recipe: NetworkRecipe, path: Path) -> StartingPoint:
    weights = {name.removeprefix("network."): value for name, value in network.state_dict().items()}
    return StartingPoint(path, recipe, (weights,), is_folded=False)


def test_a_3d_network_begins_a_2d_one(tmp_path: Path) -> None:
    whole = NetworkRecipe(filters=4)
    other, plane = build(whole).eval(), torch.rand(2, 1, 16, 16)
    network = build(NetworkRecipe(filters=4, axes="YX")).eval()
    begin(network, start_of(other, whole, tmp_path), member=0, seen=plane)
    with torch.no_grad():
        got, wanted = network(plane)[0], other(plane[:, :, None])[0][:, :, 0]
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("before", "after"), [(None, 0), (None, 4), (4, 1), (1, 4)])
def test_a_network_begins_one_that_looks_less_far_or_farther(
    tmp_path: Path, before: int | None, after: int | None
) -> None:
    """Far from the ends of a specimen that is the same in all planes, both restore the same."""
    recipes = [NetworkRecipe(filters=4, look_ahead=planes) for planes in (before, after)]
    other, network = (build(recipe).eval() for recipe in recipes)
    shown = torch.rand(1, 1, 1, 16, 16).repeat(1, 1, 45, 1, 1)
    begin(network, start_of(other, recipes[0], tmp_path), member=0, seen=shown)
    with torch.no_grad():
        got, wanted = (one(shown)[0][:, :, 22] for one in (network, other))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_a_kernel_is_moved_to_earlier_planes_with_all_of_its_weight() -> None:
    kernel = torch.arange(1.0, 6.0).reshape(1, 1, 5, 1, 1)
    assert moved(kernel, 1).flatten().tolist() == [0, 1, 2, 3, 4 + 5]
    assert moved(kernel, -2).flatten().tolist() == [1 + 2 + 3, 4, 5, 0, 0]


@pytest.mark.slow
def test_an_exported_network_says_how_far_it_looks(tmp_path: Path, small_data: Data) -> None:
    trained(tmp_path, small_data, look_ahead=2, first_skip=False, blur_pool=True)
    export(tmp_path / "run", tmp_path / "net.onnx")
    network = open_start(tmp_path / "net.onnx").network
    assert (network.look_ahead, network.first_skip, network.blur_pool) == (2, False, True)
    assert file.read_card(tmp_path / "net.onnx").halo_px[0] == 10  # 2 ahead, 10 behind


def test_the_shipped_start_is_found_by_its_name() -> None:
    start = open_start(Path("forms"))
    assert (start.network.axes, start.network.filters) == ("ZYX", 16)
    assert file.shipped("forms").stat().st_size < 6e6
    verdict = file.read_card(file.shipped("forms")).verdict
    assert verdict is not None
    assert verdict.is_doubtful  # it says so of itself


def test_a_start_without_a_past_is_what_a_network_with_one_begins_as() -> None:
    """Its kernel reads the present, and nothing of earlier frames yet."""
    kernel = torch.arange(2 * 2 * 3 * 3, dtype=torch.float32).reshape(2, 2, 3, 3)
    wide = blind_to_past(kernel, 6)
    assert wide.shape == (2, 6, 3, 3)
    assert torch.equal(wide[:, :2], kernel)
    assert not wide[:, 2:].any()
    assert blind_to_past(kernel, 5) is kernel
    assert blind_to_past(wide, 6) is wide


@pytest.mark.slow
def test_a_network_with_a_past_begins_with_one_of_the_present(tmp_path: Path, small_data: Data) -> None:
    recipe = trained(tmp_path, small_data)
    other = load_member(tmp_path / "run" / "member-0" / "best.pt", recipe)
    reading = recipe.network.model_copy(update={"past": 2})
    network = build(reading)
    three = patch().repeat(1, 3, 1, 1, 1)
    begin(network, open_start(tmp_path / "run"), member=0, seen=three)
    three[:, 1:] = 0
    inner, wanted = (getattr(one, "network", one).eval() for one in (network, other))
    with torch.no_grad():
        for ours, theirs in zip(inner(three), wanted(patch()), strict=True):
            torch.testing.assert_close(ours, theirs)
