"""What a training run will do, before it begins, in words."""

from __future__ import annotations

from dataclasses import dataclass

from care_live.training.measured_noise import NoiseCorrelation
from care_live.training.recipe import Recipe

SHARE_OF_UPDATES = 0.95
"""The rest of the budget goes to validation, to tuning filters for the verdict, and to the report."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a run will do, before it begins."""

    recipe: Recipe
    """Its updates and filters are settled."""
    n_training: int
    """Volumes (planes, for a 2D network)."""
    n_validation: int
    patch_px: tuple[int, ...]
    device: str
    """That computes, such as cpu."""
    update_s: float | None
    """Seconds of one update on this machine; None where the recipe gives the number of updates."""
    is_enough: bool = False
    """Whether the budget would allow more updates than the images are good for."""
    noise: NoiseCorrelation | None = None
    """Of the images, where there is no clean one."""

    @property
    def duration_s(self) -> float | None:
        """Seconds that the run takes, about; None: not measured."""
        if self.update_s is None:
            return None
        return self.recipe.members * self.recipe.fit.n_updates * self.update_s / SHARE_OF_UPDATES

    def describe(self) -> str:
        """Return the plan in a sentence or two."""
        recipe, fit = self.recipe, self.recipe.fit
        patch = " x ".join(str(size) for size in self.patch_px)
        image = "volume" if recipe.axes_seen == "ZYX" else "plane"
        where = self.device.upper() + ("" if self.duration_s is None else f", about {_duration(self.duration_s)}")
        several = f"{recipe.members} networks, each a " if recipe.members > 1 else ""
        enough = " (more would be learnt by heart from so few images)" if self.is_enough else ""
        network = f"{several}{recipe.network.describe()}"
        noise = f"\n{self.noise.describe()}." if self.noise else ""
        return (
            f"Learns from {_several(self.n_training, image)}, and is judged on {_several(self.n_validation, 'other')}: "
            f"{fit.n_updates} updates of {fit.batch} patches of {patch} px on the {where}{enough}. {network}.{noise}"
        )


def _several(n: int, what: str) -> str:
    return f"{n} {what}" + ("s" if n != 1 else "")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
