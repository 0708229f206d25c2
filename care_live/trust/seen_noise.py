"""The noise that a run shows at each brightness, and in what it is not that of a camera file.

Two neighbouring planes, one taken from the other, keep their noise and lose the pixels' own offsets; second differences
of them lose most of the specimen. What is left of the raw planes is the noise and the finest structures: a little more
than the noise. What is left of the residual is less than it, as a network follows the noise a little. With r and d for
the two, a network that lets the share k of the noise through has ⟨r²⟩ = σ², ⟨r·d⟩ = (1−k)·σ² and ⟨d²⟩ = (1−k)²·σ², and
so ⟨r·d⟩² / ⟨d²⟩ = σ², without structures that the restoration has, too, and k = 1 − ⟨d²⟩ / ⟨r·d⟩.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust.camera import ROUNDING_VARIANCE, CameraModel
from care_live.trust.photon_transfer import (
    BLOCK_PX,
    MOST_PLANES,
    N_GROUPS,
    block_means,
    line_through,
    second_differences,
)
from care_live.trust.saturation import ceiling_of

Pixels: TypeAlias = NDArray[np.float32]
GroupMeans: TypeAlias = NDArray[np.float64]

_OTHER_GAIN, _OTHER_NOISE = 1.2, 1.35
"""Times what the file says: gain, and variance in the dark."""
_AT_LEAST = 1.07
"""Times the gain of the file that the residual alone shows where the gain is larger: fine structures add to it."""
_SURE = 3.0
"""Standard errors by which the gain must be off by more than that."""
_LIGHT = 0.25
"""Share of the noise in the dark by which light must add to it: a slope of less is one of the pixels' offsets."""
_DARK, _BRIGHT = 0.25, 0.05
"""Shares of the blocks that are taken for dark and for bright."""
_LEAST_LEFT = 0.05
"""Share of the noise that a residual has at least: what is left where a network copies its raw planes says nothing."""
_FEW_PLANES, _PART_PX = 3, 2**16
"""Pairs of planes, and pixels of each, that show how much of the noise is kept."""
_LEAST_VARIANCE = 1e-6
_INDEPENDENT = 3.8
"""Pixels that say as much as one: second differences share pixels."""


class NoisePoints(NamedTuple):
    """Blocks of nearly one brightness; all (n,)."""

    level: GroupMeans
    """Counts."""
    raw: GroupMeans
    """Counts², ⟨r²⟩."""
    both: GroupMeans
    """Counts², ⟨r·d⟩."""
    left: GroupMeans
    """Counts², ⟨d²⟩."""
    n_px: GroupMeans
    is_single: bool
    """Of single planes: the pixels' offsets are in it."""


class SeenNoise(NamedTuple):
    """What the noise of a run says of its camera."""

    gain: float
    """Counts per photo-electron; twice as much where electrons are multiplied before they are read. NaN: there is too
    little light to say."""
    error: float
    """Standard error of the gain, counts per photo-electron."""
    least: float
    most: float
    """What the residual and the raw planes alone say of the gain."""
    dark_level: float
    """Counts of the darkest places."""
    dark_least: float
    dark_most: float
    """Counts², of the noise there, by residual and raw planes."""
    has_offsets: bool
    """The pixels' own offsets are part of the noise."""


def noise_points(
    raw: NDArray[Any],
    predicted: NDArray[Any],
    *,
    without: NDArray[np.bool_] | None = None,
) -> NoisePoints | None:
    """Return the noise at each brightness; None for tiny frames.

    Parameters
    ----------
    raw, predicted : (z, y, x) counts; the prediction says which blocks are alike, without their noise
    without : (y, x) pixels that are broken; blocks with one say nothing
    """
    if min(raw.shape[1:]) < 3 * BLOCK_PX:
        return None
    ceiling = ceiling_of(raw)
    chosen = np.unique(np.linspace(0, max(len(raw) - 2, 0), MOST_PLANES).astype(int))
    planes = [slice(z, z + 2) for z in chosen]
    blocks = np.concatenate([_blocks(raw[pair], predicted[pair], ceiling, without) for pair in planes], axis=1)
    if blocks.shape[1] < N_GROUPS:
        return None
    n_blocks = blocks.shape[1]
    first = -(-n_blocks * np.arange(N_GROUPS) // N_GROUPS)
    n_each = np.diff(first, append=n_blocks)
    in_order = blocks[1:, np.argsort(blocks[0], kind="stable")].astype(np.float64)
    level, in_raw, both, left = np.add.reduceat(in_order, first, axis=1) / n_each
    return NoisePoints(level, in_raw, both, left, n_each * float(BLOCK_PX**2), is_single=len(raw) < 2)


def _blocks(
    raw: NDArray[Any], predicted: NDArray[Any], ceiling: int | None, without: NDArray[np.bool_] | None
) -> Pixels:
    """Return for every block of a pair of planes, or a single one, (5, n): predicted and raw level, and the squares."""
    planes = [plane.astype(np.float32) for plane in raw]
    lefts = [plane - shown for plane, shown in zip(planes, predicted, strict=True)]
    in_raw, left = (_noise_of(images) for images in (planes, lefts))
    level, key = (_middle(images)[1:-1, 1:-1] for images in (planes, predicted))
    blocks = np.stack([block_means(image) for image in (key, level, in_raw * in_raw, in_raw * left, left * left)])
    unusable = np.zeros(raw.shape[1:], bool) if without is None else without
    if ceiling is not None:
        unusable = unusable | (raw == ceiling).any(axis=0)
    if not unusable.any():
        return blocks
    return blocks[:, block_means(unusable[1:-1, 1:-1].astype(np.float32)) == 0]


def _middle(planes: Sequence[Pixels] | Pixels) -> Pixels:
    """Return the mean of one plane or two; numpy's own ends the process where memory runs out in it."""
    return np.asarray(planes[0] if len(planes) == 1 else (planes[0] + planes[1]) * np.float32(0.5), np.float32)


def _noise_of(planes: list[Pixels]) -> Pixels:
    noise = [second_differences(plane) for plane in planes]
    return noise[0] if len(noise) == 1 else (noise[0] - noise[1]) * np.float32(math.sqrt(0.5))


def kept_share(raw: NDArray[Any], predicted: NDArray[Any], without: NDArray[np.bool_] | None = None) -> float:
    """Return which share of the camera's noise a restoration has kept, in the darker half; 0 for tiny frames.

    Whatever is known of the camera: its pattern, and an estimate of its noise, are not in it.

    Parameters
    ----------
    raw, predicted : (z, y, x) counts
    without : (y, x) pixels that are broken
    """
    in_raw = both = left = 0.0
    for planes, rows in _few_parts(raw.shape):
        part = None if without is None else without[rows]
        seen = noise_points(raw[planes, rows], predicted[planes, rows], without=part)
        if seen is not None:
            dark = np.argsort(seen.level)[: len(seen.level) // 2]
            in_raw += float(seen.raw[dark].mean())
            both += float(seen.both[dark].mean())
            left += float(seen.left[dark].mean())
    if not math.isfinite(in_raw + both + left) or in_raw < ROUNDING_VARIANCE:
        return 0.0
    return 1.0 if both <= _LEAST_LEFT * in_raw else min(max(1 - left / both, 0.0), 1.0)


def _few_parts(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Yield a few pairs of planes, and of a large field other rows of each: they say enough."""
    n_z, n_y, n_x = shape
    n_rows = min(n_y, max(3 * BLOCK_PX, _PART_PX // n_x))
    for number, z in enumerate(np.linspace(0, max(n_z - 2, 0), _FEW_PLANES).astype(int)):  # one pair: other rows
        first = (n_y - n_rows) * number // max(_FEW_PLANES - 1, 1)
        yield slice(z, z + 2), slice(first, first + n_rows)


def noise_in(seen: Iterable[NoisePoints]) -> SeenNoise:
    """Return what the noise of one or several volumes says of their camera."""
    every = list(seen)
    level, raw, both, left, n_px = (np.concatenate([one[row] for one in every]) for row in range(5))
    follows = (both <= _LEAST_LEFT * raw) | (left <= _LEAST_LEFT * raw)
    noise = np.where(follows, raw, both**2 / np.where(follows, 1.0, left))
    gain, error = _slope(level, noise, n_px)
    ordered = np.argsort(level)
    dark = ordered[: max(1, round(_DARK * len(level)))]
    bright = ordered[-max(1, round(_BRIGHT * len(level))) :]
    is_lit = float(noise[bright].mean()) > (1 + _LIGHT) * float(noise[dark].mean())
    return SeenNoise(
        gain=gain if is_lit else math.nan,
        error=error,
        least=_slope(level, left, n_px)[0],
        most=_slope(level, raw, n_px)[0],
        dark_level=float(level[dark].mean()),
        dark_least=float(left[dark].mean()),
        dark_most=float(raw[dark].mean()),
        has_offsets=any(one.is_single for one in every),
    )


def _slope(level: GroupMeans, variance: GroupMeans, n_px: GroupMeans) -> tuple[float, float]:
    """Return the slope of the variance over the level, and its standard error."""
    variance = np.maximum(variance, _LEAST_VARIANCE)
    gain, at_zero = line_through(level, variance)
    expected = np.maximum(gain * level + at_zero, 1e-3 * float(variance.max()))
    weight = n_px / (2 * _INDEPENDENT) / expected**2
    spread = float(np.sum(weight * (level - np.average(level, weights=weight)) ** 2))
    scatter = float(np.sum(weight * (variance - expected) ** 2)) / max(len(level) - 2, 1)
    return gain, math.sqrt(max(scatter, 1.0) / max(spread, 1e-12))


# -- a camera file ------------------------------------------------------------------------------------------------


def differences(given: CameraModel, seen: SeenNoise) -> tuple[str, ...]:
    """Return in what the noise of a run is not that of a camera file, in words; () where dark places are clipped."""
    if seen.dark_most < ROUNDING_VARIANCE:
        return ()
    said = " and ".join(one for one in (_in_gain(given, seen), _in_the_dark(given, seen)) if one)
    if not said:
        return ()
    return (
        f"{said}: it is the file of another camera or mode, and is not used; measure this one with 'care-live camera'",
    )


def _in_gain(given: CameraModel, seen: SeenNoise) -> str:
    unsure = _SURE * seen.error
    is_less = seen.gain < given.gain / _OTHER_GAIN - unsure and seen.most < given.gain
    is_more = seen.gain > given.gain * _OTHER_GAIN + unsure and seen.least > _AT_LEAST * given.gain
    is_more &= not seen.has_offsets  # nothing tells fine structures of a single plane from noise
    if not (is_less or is_more):
        return ""
    return f"the camera file says {given.gain:.3g} counts per photo-electron, the noise of this run {seen.gain:.3g}"


def _in_the_dark(given: CameraModel, seen: SeenNoise) -> str:
    if given.offset - seen.dark_level > math.sqrt(given.dark_variance):
        return (
            f"the camera file says {given.offset:.4g} counts without light, dark places of this run have "
            f"{seen.dark_level:.4g}"
        )
    expected = float(given.variance(np.array([seen.dark_level], np.float32))[0])
    least_expected = expected
    if given.dark_noise is not None:  # some pixels are much noisier than most; where they are few, blocks have none
        expected += max(0.0, float(given.dark_noise.mean()) - given.dark_variance)
    offsets = given.pattern_sd**2 + (0.0 if given.pattern is None else float(np.nanvar(given.pattern)))
    is_less = seen.dark_most < least_expected / _OTHER_NOISE
    is_more = seen.dark_least > _OTHER_NOISE * (expected + (offsets if seen.has_offsets else 0.0))
    if not (is_less or is_more):
        return ""
    return (
        f"the camera file gives dark places of this run a noise of {math.sqrt(expected):.2g} counts, they have "
        f"{math.sqrt(seen.dark_most):.2g}"
    )
