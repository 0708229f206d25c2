"""A network that standardises images sees mean 0 and deviation 1, and gives images as they come."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from care_live.training.architecture import Standardised, build
from care_live.training.network_recipe import NetworkRecipe

SPREADS = torch.tensor([[0.3, 0.2], [40.0, 7.0]])  # mean and deviation of each channel


class Remembers(nn.Module):
    """Gives what it reads, and 1 as the scale."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.seen = x
        return x, torch.ones_like(x)


def images(spreads: Tensor) -> Tensor:
    """Noise (6, 2, 4, 8, 8) of these means and deviations."""
    mean, deviation = (values.reshape(1, -1, 1, 1, 1) for values in spreads.T)
    return torch.randn(6, 2, 4, 8, 8) * deviation + mean


def moments(image: Tensor) -> Tensor:
    """Return (channel, mean and deviation)."""
    channels = image.transpose(0, 1).flatten(1)
    return torch.stack([channels.mean(dim=1), channels.std(dim=1)], dim=1)


def test_the_network_sees_and_learns_mean_0_and_deviation_1() -> None:
    inside = Remembers()
    network = Standardised(inside, NetworkRecipe(n_channels_in=2, n_channels_out=2))
    inputs, targets = images(SPREADS), images(SPREADS.flip(0))
    network.measure(inputs, targets)
    mean, scale = network(inputs)
    assert torch.allclose(moments(inside.seen), torch.tensor([0.0, 1.0]).expand(2, 2), atol=1e-5)
    assert torch.allclose(moments(mean), moments(targets), rtol=1e-4)
    assert torch.allclose(scale[0, :, 0, 0, 0], moments(targets)[:, 1])  # a scale has no mean to go back to


def test_a_constant_channel_gives_no_nan() -> None:
    network = Standardised(Remembers(), NetworkRecipe())
    flat = torch.full((2, 1, 4, 4, 4), 3.0)
    network.measure(flat, flat)
    assert torch.equal(network(flat)[0], flat)


@pytest.mark.parametrize("projection", [False, True])
def test_before_measuring_it_is_the_network_itself(projection: bool) -> None:
    axes, pool_px = ("YX", (2, 2)) if projection else ("ZYX", (2, 2, 2))
    recipe = NetworkRecipe(axes=axes, pool_px=pool_px, filters=2, depth=1, projection=projection, projection_depth=1)
    network = build(recipe.model_copy(update={"standardise": True}))
    assert isinstance(network, Standardised)
    x = torch.rand(1, 1, 4, 8, 8)
    with torch.no_grad():
        for got, wanted in zip(network(x), network.network(x), strict=True):
            assert torch.equal(got, wanted)


def test_a_rectified_output_is_refused() -> None:
    with pytest.raises(ValidationError, match="standardise needs last_activation linear"):
        NetworkRecipe(standardise=True, last_activation="relu")
