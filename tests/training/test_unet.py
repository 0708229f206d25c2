"""The U-Net: CSBDeep's numbers, and rewritings that change nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from care_live.training.network_recipe import PRESETS, NetworkRecipe
from care_live.training.unet import SMALLEST_SCALE, BlurredMaximum, UNet, for_export


@pytest.mark.parametrize(("filters", "wanted"), [(32, 996_802), (16, 249_570)])
def test_as_many_parameters_as_csbdeep(filters: int, wanted: int) -> None:
    network = UNet(PRESETS["csbdeep-3d-probabilistic"].model_copy(update={"filters": filters}))
    assert sum(parameter.numel() for parameter in network.parameters()) == wanted


@pytest.mark.parametrize(
    ("axes", "pool_px", "shape"),
    [("ZYX", (2, 2, 2), (8, 12, 16)), ("ZYX", (1, 2, 2), (5, 8, 12)), ("YX", (2, 2), (12, 20))],
)
@pytest.mark.parametrize("channels", [(1, 1), (2, 1), (2, 3)])
def test_shapes_and_scale(
    axes: str, pool_px: tuple[int, ...], shape: tuple[int, ...], channels: tuple[int, int]
) -> None:
    n_in, n_out = channels
    recipe = NetworkRecipe(
        axes=axes, pool_px=pool_px, filters=4, n_channels_in=n_in, n_channels_out=n_out, residual=n_in == n_out
    )  # fmt: skip
    with torch.no_grad():
        mean, scale = UNet(recipe)(torch.rand(2, n_in, *shape))
    assert mean.shape == (2, n_out, *shape)
    assert scale.shape == mean.shape
    assert float(scale.min()) >= SMALLEST_SCALE


@pytest.mark.parametrize(
    "changes",
    [
        {"look_ahead": 3},
        {"look_ahead": 0, "blur_pool": True},
        {"first_skip": False, "blur_pool": True},
        {"first_skip": False, "batch_norm": False, "axes": "YX"},
    ],
    ids=str,
)
def test_an_unusual_network_is_exported_and_trained_as_it_is(changes: dict[str, Any]) -> None:
    recipe = NetworkRecipe.model_validate({"filters": 4, "decoder": "transpose"} | changes)
    network, shape = UNet(recipe), [3 * step for step in recipe.divisor]
    with torch.no_grad():
        network(torch.rand(2, 1, *shape))  # in training, its other way through joins
        network.eval()
        x = torch.rand(1, 1, *shape)
        for got, wanted in zip(for_export(network)(x), network(x), strict=True):
            assert float((got - wanted).abs().max() / wanted.abs().max()) < 2e-6


@pytest.mark.parametrize("look_ahead", [0, 1, 4, 10])
def test_a_network_looks_as_many_planes_ahead_as_it_may_and_farther_behind(look_ahead: int) -> None:
    network = UNet(NetworkRecipe(filters=4, look_ahead=look_ahead, initialise="he", batch_norm=False)).eval()
    x = torch.rand(1, 1, 48, 8, 8)
    changed = x.clone()
    changed[0, 0, 24] += 100.0
    with torch.no_grad():
        moved = (network(x)[0] != network(changed)[0]).amax(dim=(0, 1, 3, 4)).nonzero()
    n_behind = 20 - look_ahead  # ten kernels of three planes: what it may not see ahead, it sees behind
    assert (int(moved.min()), int(moved.max())) == (24 - look_ahead, 24 + n_behind)


def test_pooling_can_be_blurred() -> None:
    pool = BlurredMaximum(NetworkRecipe(axes="YX"))
    flat = torch.ones(1, 2, 8, 12)
    spot = torch.zeros(1, 1, 16, 16)
    spot[..., 7, 7] = 1.0
    moved = spot.roll(1, dims=-1)
    assert torch.allclose(pool(flat)[..., 1:-1, 1:-1], torch.ones(1, 2, 2, 4))
    assert float(pool(spot).sum()) == pytest.approx(float(pool(moved).sum()))  # wherever it lies in its block


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(
    ("axes", "pool_px", "kernel_px"), [("ZYX", (2, 2, 2), 3), ("ZYX", (1, 2, 2), 5), ("YX", (3, 2), 5)]
)
def test_training_computes_the_network_and_its_gradients(
    axes: str, pool_px: tuple[int, ...], kernel_px: int, batch_norm: bool
) -> None:
    """Training takes a shorter way through joins and heads than inference, to the same values."""
    recipe = NetworkRecipe(axes=axes, pool_px=pool_px, kernel_px=kernel_px, filters=4, batch_norm=batch_norm)
    network = UNet(recipe).double()
    x = torch.rand(2, 1, *(2 * step for step in recipe.divisor), dtype=torch.float64)
    results = []
    for is_shorter in (False, True):
        network.train()
        for module in (*network.joins, network.mean_head, network.scale_head):
            module.training = is_shorter  # of this module alone: batch norm goes on as in training
        network.zero_grad()
        mean, scale = network(x)
        (mean.square() + scale).sum().backward()
        results.append([mean, scale, *(parameter.grad for parameter in network.parameters())])
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("axes", "pool_px", "kernel_px", "depth"),
    [("ZYX", (1, 2, 2), 3, 2), ("ZYX", (2, 2, 2), 3, 3), ("YX", (2, 2), 5, 2), ("YX", (3, 2), 7, 1)],
)
def test_rewritten_for_export_is_the_same_function(
    axes: str, pool_px: tuple[int, ...], kernel_px: int, depth: int
) -> None:
    recipe = NetworkRecipe(
        axes=axes, pool_px=pool_px, kernel_px=kernel_px, depth=depth, filters=4, batch_norm=True, decoder="transpose"
    )
    network = UNet(recipe)
    shape = [3 * step for step in recipe.divisor]
    for _ in range(3):  # let batch norm see something
        network(torch.rand(2, 1, *shape))
    network.eval()
    x = torch.rand(1, 1, *shape)
    with torch.no_grad():
        for got, wanted in zip(for_export(network)(x), network(x), strict=True):
            assert float((got - wanted).abs().max() / wanted.abs().max()) < 2e-6
