"""The network that is exported is the one that was trained."""

from __future__ import annotations

import pytest
import torch

from care_live.training.network_recipe import NetworkRecipe
from care_live.training.unet import UNet
from care_live.training.unet_rewrite import for_export


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
