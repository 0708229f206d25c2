"""Which network a recipe means."""

from __future__ import annotations

from torch import nn

from care_live.training.projection import Projection
from care_live.training.recipe import NetworkRecipe
from care_live.training.standardised import Standardised
from care_live.training.unet import UNet


def build(recipe: NetworkRecipe) -> nn.Module:
    """Return a fresh network; set torch's seed before."""
    network = Projection(recipe) if recipe.projection else UNet(recipe)
    return Standardised(network, recipe) if recipe.standardise else network
