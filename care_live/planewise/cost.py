"""Whether streaming pays, from the numbers of products, planes and bytes, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from care_live.planewise.schedule import ScheduledStep

_PRODUCTS_PER_S = 3e10
"""Of two CPU cores, until the first volume has been timed."""
_FORGOTTEN = 0.02
"""Of the measured speed, at each look."""
_WORTH = 0.9
"""A stream must show a volume at least so much earlier than one run over the whole of it."""


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


@dataclass(frozen=True, slots=True)
class StreamVerdict:
    """Whether to stream, and why."""

    stream: bool
    reason: str
    """With the time from the last plane to the finished volume, streamed and in one run over the whole."""


def decide(
    steps: Sequence[ScheduledStep],
    *,
    n_tiles: int,
    plane_s: float,
    need_bytes: int,
    free_bytes: int,
    products_per_s: float = _PRODUCTS_PER_S,
) -> StreamVerdict:
    """Decide for stacks of one size.

    Parameters
    ----------
    plane_s : seconds from one plane to the next
    need_bytes : most memory that a volume takes on its way
    free_bytes : what memory has left
    products_per_s : measured speed
    """
    whole_s = n_tiles * sum(step.products for step in steps) / products_per_s
    streamed_s = age_s(steps, n_tiles=n_tiles, plane_s=plane_s, products_per_s=products_per_s)
    ages = f"age {1e3 * streamed_s:.0f} ms streamed, {1e3 * whole_s:.0f} ms whole"
    if need_bytes > free_bytes:
        need, have = need_bytes >> 20, free_bytes >> 20
        return StreamVerdict(False, f"a stream of {need} MiB does not fit into {have} MiB")
    if streamed_s > _WORTH * whole_s:
        return StreamVerdict(False, f"{ages}: planes come too fast, or are too few")
    return StreamVerdict(True, ages)


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
