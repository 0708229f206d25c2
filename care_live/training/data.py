"""From a recipe's [data] to volumes, split into those to learn from and those to be judged by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from care_live.training.examples import Example
from care_live.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Data:
    """Volumes of a training run; none is on both sides."""

    training: Sequence[Example]
    validation: Sequence[Example]
    turns: bool = True
    """Whether y and x are alike, so that patches may be turned by a quarter."""

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """One SHA-256 a volume, of its name, shape and a thin sample of its voxels: what the card keeps."""
        return tuple(_fingerprint(example) for example in (*self.training, *self.validation))


Tell = Callable[[str], None]
"""Called with the name of each volume as it is read or simulated."""


def gather(recipe: Recipe, tell: Tell = lambda name: None) -> Data:
    """Read or simulate the volumes of a recipe.

    Raises
    ------
    TrainingError
        A file is missing, broken, unpaired, of another shape, shifted, constant or not finite; names it.
    """
    match recipe.data.kind:
        case "simulated":
            from care_live.training.simulated import gather_simulated

            return gather_simulated(recipe.data, recipe, tell)
        case "deconvolve":
            from care_live.training.simulated import gather_blurred

            return gather_blurred(recipe.data, recipe, tell)
        case "pairs":
            from care_live.training.pairs import gather_pairs

            return gather_pairs(recipe.data, recipe, tell)
        case "isotropic" | "upsample":
            from care_live.training.degraded import gather_degraded

            return gather_degraded(recipe.data, recipe, tell)


def _fingerprint(example: Example) -> str:
    corner = [size // 2 - min(size, 8) // 2 for size in example.shape_px]
    patch = example.cut(corner, [min(size, 8) for size in example.shape_px], None)
    digest = hashlib.sha256(f"{example.name} {example.shape_px}".encode())
    digest.update(patch.target.tobytes())
    return digest.hexdigest()
