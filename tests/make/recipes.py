"""A small recipe, and small networks that were not trained."""

from __future__ import annotations

from typing import Any

import torch

from care_live.training.architecture import Standardised, build
from care_live.training.network_recipe import NetworkRecipe

RECIPE = """
name = "tiny"
members = 2
[network]
filters = 2
depth = 1
pool_px = [1, 2, 2]
batch_norm = true
initialise = "he"
[data]
kind = "pairs"
inputs = ["{folder}/power-1", "{folder}/power-4"]
target = "{folder}/truth"
[fit]
n_updates = 4
validate_every = 2
batch = 2
patch_px = [4, 16, 16]
n_validation_patches = 2
threads = 1
device = "cpu"
"""


SMALL = {"filters": 2, "depth": 1}


def members(n: int, **network: object) -> tuple[list[torch.nn.Module], NetworkRecipe]:
    recipe = NetworkRecipe.model_validate(SMALL | network)
    return [build(recipe).eval() for _ in range(n)], recipe


def untrained(recipe: Any, n: int = 1) -> list[torch.nn.Module]:
    networks = [build(recipe.network).eval() for _ in range(n)]
    for network in networks:
        if isinstance(network, Standardised):
            network.measure(0.3 + 0.2 * torch.rand(4, 1, 4, 8, 8), 0.2 + 0.1 * torch.rand(4, 1, 4, 8, 8))
    return networks
