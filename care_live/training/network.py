"""Which network a recipe means."""

from __future__ import annotations

from torch import nn

from care_live.training.projection import Projection
from care_live.training.recipe import NetworkRecipe
from care_live.training.unet import UNet


def build(recipe: NetworkRecipe) -> nn.Module:
    """Return a fresh network; set torch's seed before."""
    return Projection(recipe) if recipe.projection else UNet(recipe)
