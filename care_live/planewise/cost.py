"""How long a stream takes: counted in products and planes, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence

from care_live.planewise.schedule import ScheduledStep

_PRODUCTS_PER_S = 3e10
"""Of two CPU cores, until the first volume has been timed."""
_FORGOTTEN = 0.02
"""Of the measured speed, at each look."""


class Speed:
    """How fast steps run here, as of late: a second of work weighs as much as all before it.

    Each reading lowers the weight of the past, so that a machine that was too busy for a stream is tried again.
    """

    def __init__(self) -> None:
        self._products_per_s = _PRODUCTS_PER_S

    def note(self, products: int, seconds: float) -> None:
        """Count one step; a step without multiplications lowers the speed."""
        if seconds > 0:
            self._approach(products / seconds, seconds / (seconds + 1.0))

    def estimate(self) -> float:
        """Return multiplications a second."""
        self._approach(_PRODUCTS_PER_S, _FORGOTTEN)
        return self._products_per_s

    def _approach(self, products_per_s: float, weight: float) -> None:
        self._products_per_s += weight * (products_per_s - self._products_per_s)


def age_s(steps: Sequence[ScheduledStep], *, n_tiles: int, plane_s: float, products_per_s: float) -> float:
    """Return the time from the last plane to the finished volume when each step starts as soon as it can.

    Examples
    --------
    Nothing is left to do but the last step, unless the planes come faster than they can be worked on.
    """
    free_at = 0.0
    for step in steps:
        free_at = max(free_at, step.after * plane_s) + n_tiles * step.products / products_per_s
    return free_at - steps[-1].after * plane_s
