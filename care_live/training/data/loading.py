"""From a recipe to examples: pairs on disk, sharp planes to be degraded, or simulated specimens."""

from __future__ import annotations

from care_live.training.data.examples import Data, Tell
from care_live.training.data.lateral_slices import gather_degraded
from care_live.training.data.noisy import gather_exposures, gather_noisy
from care_live.training.data.pairs import gather_pairs, in_counts
from care_live.training.data.simulated import gather_blurred, gather_simulated
from care_live.training.recipe import Recipe


def gather(recipe: Recipe, tell: Tell = lambda name: None) -> Data:
    """Read or simulate the volumes of a recipe.

    Raises
    ------
    TrainingError
        A file is missing, broken, unpaired, of another shape, shifted, constant or not finite; names it.
    """
    match recipe.data.kind:
        case "simulated":
            return gather_simulated(recipe.data, recipe, tell)
        case "deconvolve":
            return gather_blurred(recipe.data, recipe, tell)
        case "pairs":
            return in_counts(gather_pairs(recipe.data, recipe, tell), seed=recipe.seed)
        case "exposures":
            return gather_exposures(recipe.data, recipe, tell)
        case "noisy":
            return gather_noisy(recipe.data, recipe, tell)
        case "isotropic" | "upsample":
            return gather_degraded(recipe.data, recipe, tell)
