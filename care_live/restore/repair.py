"""Two views of one voxel become one distribution, and NaN and infinity are replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from care_live.maps import MAPS, Array, Head
from care_live.percentiles import Span

Maps: TypeAlias = dict[Head, Array]
"""What a network gives, (c, z, y, x) for every head."""


def mixture(first: Mapping[Head, Array], second: Mapping[Head, Array]) -> Maps:
    """Return the Laplace distribution with the mean and variance of the even mixture of two.

    The mixture of Laplace(μ₁, b₁) and Laplace(μ₂, b₂) has mean (μ₁ + μ₂)/2 and variance
    b₁² + b₂² + (μ₁ − μ₂)²/4; a Laplace of scale b has variance 2b². Where the views disagree, the interval
    widens: that is what two views are for.
    """
    maps: Maps = {"mean": (first["mean"] + second["mean"]) * np.float32(0.5)}
    if "laplace_scale" in first:
        variance = np.square(first["laplace_scale"]) + np.square(second["laplace_scale"])
        variance += np.square(first["mean"] - second["mean"]) * np.float32(0.25)
        maps["laplace_scale"] = np.sqrt(variance * np.float32(0.5))
    return _averaged(first, second) | maps


def geometric_mean(first: Mapping[Head, Array], second: Mapping[Head, Array], spans: Sequence[Span]) -> Maps:
    """Return the geometric mean of two views above the low percentile, and the larger of their scales.

    It is what CSBDeep does, for networks that come from there: all below the low percentile becomes exactly
    that, and mean and scale no longer describe one distribution.

    Parameters
    ----------
    first, second : maps in camera counts
    spans : of each output channel; (0, 1) where the maps are normalised already
    """
    mean = np.empty_like(first["mean"])
    for c, span in enumerate(spans):
        views = [np.maximum(span.apply(view["mean"][c]), 0) for view in (first, second)]
        mean[c] = span.undo(np.sqrt(views[0] * views[1]))
    maps: Maps = {"mean": mean}
    if "laplace_scale" in first:
        maps["laplace_scale"] = np.maximum(first["laplace_scale"], second["laplace_scale"])
    return _averaged(first, second) | maps


def mend(maps: Maps) -> bool:
    """Replace, in place, what is no number, or no width, in every map: `MapKind.mended` stands there.

    Returns
    -------
    bool : whether anything was replaced
    """
    if all(np.isfinite(array.sum(dtype=np.float64)) for array in maps.values()) and all(
        array.min() >= 0 for head, array in maps.items() if not MAPS[head].may_be_negative
    ):  # quick looks are the rule
        return False
    broken = np.zeros(maps["mean"].shape, bool)
    for head, array in maps.items():
        broken |= ~np.isfinite(array)
        if not MAPS[head].may_be_negative:
            broken |= array < 0
    for head, array in maps.items():
        array[broken] = MAPS[head].mended
    return True


def _averaged(first: Mapping[Head, Array], second: Mapping[Head, Array]) -> Maps:
    """Return the average of two views of every map that is neither a mean nor its scale."""
    others = [head for head in first if head not in {"mean", "laplace_scale"}]
    return {head: (first[head] + second[head]) * np.float32(0.5) for head in others}
