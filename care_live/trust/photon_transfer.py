"""Photon transfer: gain, offset and read noise from frames alone, dark and flat ones or any run's.

Noise is white, a specimen seen through an objective is not: second differences along y and x keep the first and
lose nearly all of the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ConfigError
from care_live.trust.camera import ROUNDING_VARIANCE, CameraModel

Frames: TypeAlias = NDArray[Any]
Pixels: TypeAlias = NDArray[np.float32]

BLOCK_PX = 8
N_GROUPS = 24
_FRAMES_FOR_NOISE, _TOO_NOISY = 20, 6.0
"""Times the median variance: such a pixel of a scientific CMOS camera looks like a structure."""
_NOISE_RATIOS = (0.1, 10.0)
"""Of the variance of a pixel to their mean: what lies outside is chance, or a broken pixel."""
MOST_PLANES = 8
"""Of one volume: enough for a percent of the gain."""


@dataclass(frozen=True, slots=True)
class TransferPoint:
    """Blocks of nearly one brightness: their level and the variance of their noise."""

    level: float
    """Counts."""
    variance: float
    """Counts², of all that differs from pixel to pixel."""
    pattern_variance: float
    """Counts², of what differs from pixel to pixel and stays from plane to plane."""


def transfer_points(stack: Frames) -> tuple[TransferPoint, ...]:
    """Return level and noise of the blocks of a raw stack (z, y, x), grouped by level; () for tiny frames."""
    if min(stack.shape[1:]) < 3 * BLOCK_PX:
        return ()
    chosen = np.unique(np.linspace(0, max(len(stack) - 2, 0), MOST_PLANES).astype(int))
    found = [_blocks(stack[z], stack[min(z + 1, len(stack) - 1)]) for z in chosen]
    level, variance, shared = (np.concatenate(part) for part in zip(*found, strict=True))
    if len(stack) < 2:
        shared = np.zeros_like(shared)
    groups = np.array_split(np.argsort(level, kind="stable"), N_GROUPS)
    return tuple(_point(level[group], variance[group], shared[group]) for group in groups if len(group))


def camera_of(points: tuple[TransferPoint, ...], origin: str) -> CameraModel | None:
    """Fit the line variance = gain·(level − offset) + (gain·read noise)²; None where light varies too little.

    The darkest blocks are taken to be without light: where there is light everywhere, offset and read noise come out
    too high together, and the variance at every level that occurs stays right.
    """
    if len(points) < N_GROUPS // 2:
        return None
    level = np.array([point.level for point in points])
    variance = np.array([point.variance for point in points])
    if np.ptp(level) < 1e-3 * max(float(level.max()), 1.0):
        return None
    gain, at_zero = line_through(level, variance)
    if gain <= 0 or np.ptp(level) * gain < 0.05 * float(np.median(variance)):
        return None
    offset = float(level.min())
    dark = max(gain * offset + at_zero, 0.0)
    darkest = sorted(points, key=lambda point: point.level)[: max(1, len(points) // 2)]
    pattern = max(float(np.median([point.pattern_variance for point in darkest])), 0.0)
    temporal = max(dark - pattern - ROUNDING_VARIANCE, 0.0)
    return CameraModel(gain, offset, float(np.sqrt(temporal)) / gain, origin, pattern_sd=float(np.sqrt(pattern)))


def camera_from_frames(dark: Frames, flat: Frames, origin: str) -> CameraModel:
    """Measure a camera from frames without light and frames of even light.

    Parameters
    ----------
    dark : (n, y, x) counts, shutter closed
    flat : (n, y, x) counts, even light, far from saturation

    Raises
    ------
    ConfigError
        Fewer than two frames of a kind, other sizes, or flat frames that are not brighter.
    """
    for name, frames in (("dark", dark), ("flat", flat)):
        if len(frames) < 2:
            raise ConfigError(f"{len(frames)} {name} frame came; give at least two, better 20 or more")
    if dark.shape[1:] != flat.shape[1:]:
        raise ConfigError(f"dark frames are {dark.shape[1:]} px and flat frames {flat.shape[1:]}: they must be alike")
    noise, noisy = _noise_of_pixels(dark)
    offset_map, dark_variance = _temporal(dark, ~noisy)
    flat_map, flat_variance = _temporal(flat, ~noisy)
    light = float(np.mean(flat_map - offset_map))
    if light <= 0 or flat_variance <= dark_variance:
        raise ConfigError(
            f"flat frames are {light:.1f} counts brighter than dark ones: they need light to show the gain"
        )
    gain = (flat_variance - dark_variance) / light
    offset = float(offset_map.mean())
    read = float(np.sqrt(max(dark_variance - ROUNDING_VARIANCE, 0.0))) / gain
    pattern = (offset_map - offset).astype(np.float32)
    pattern[noisy] = np.nan
    left = float(np.sqrt(dark_variance / len(dark)))
    return CameraModel(gain, offset, read, origin, pattern=pattern, pattern_sd=left, dark_noise=noise)


def shrunk_noise(variance: Pixels, n_frames: Pixels | int) -> Pixels:
    """Draw the measured variance of each pixel to the typical one, as far as it is chance that they differ.

    Parameters
    ----------
    variance : (y, x) counts²
    n_frames : of which each is the variance

    References
    ----------
    Efron & Morris, J. Am. Stat. Assoc. 70, 311 (1975), here of logarithms.
    """
    typical = max(float(np.mean(variance)), ROUNDING_VARIANCE)
    relative = np.log(np.clip(variance / np.float32(typical), *_NOISE_RATIOS))
    chance = 2 / np.maximum(np.asarray(n_frames, np.float32) - 1, 1)
    true = max(float(relative.var()) - float(np.median(chance)), 1e-6)
    spread = np.exp((relative - relative.mean()) * (true / (true + chance)))
    return np.asarray(spread * np.float32(typical / float(spread.mean())), np.float32)


def _noise_of_pixels(dark: Frames) -> tuple[Pixels | None, NDArray[np.bool_]]:
    """Return the variance of each pixel, and which are much noisier than the others; few frames can't say."""
    if len(dark) < _FRAMES_FOR_NOISE:
        return None, np.zeros(dark.shape[1:], bool)
    variance = dark.var(axis=0, dtype=np.float32, ddof=1)
    return shrunk_noise(variance, len(dark)), np.asarray(variance > _TOO_NOISY * np.median(variance))


def _temporal(frames: Frames, usable: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Return the mean of every pixel, and the variance in time, from differences: a lamp that drifts adds nothing."""
    mean = frames.mean(axis=0, dtype=np.float64)
    pairs = zip(frames[:-1].astype(np.float32), frames[1:].astype(np.float32), strict=True)
    return mean, float(np.mean([np.var((after - before)[usable]) / 2 for before, after in pairs]))


def _blocks(plane: Frames, following: Frames) -> tuple[Pixels, Pixels, Pixels]:
    """Return level, variance and the covariance with the next plane of every block of a plane."""
    here, there = plane.astype(np.float32), following.astype(np.float32)
    noise, after = second_differences(here), second_differences(there)
    return block_means(here[1:-1, 1:-1]), block_means(noise * noise), block_means(noise * after)


def second_differences(plane: Pixels) -> Pixels:
    """Return (1, −2, 1) along y and x, so scaled that white noise keeps its variance."""
    along_y = plane[:-2] - 2 * plane[1:-1] + plane[2:]
    return np.asarray((along_y[:, :-2] - 2 * along_y[:, 1:-1] + along_y[:, 2:]) / 6, np.float32)


def block_means(plane: Pixels) -> Pixels:
    """Return the means of squares of `BLOCK_PX` pixels, flat."""
    ny, nx = (size // BLOCK_PX for size in plane.shape)
    cut = plane[: ny * BLOCK_PX, : nx * BLOCK_PX]
    return np.asarray(cut.reshape(ny, BLOCK_PX, nx, BLOCK_PX).mean(axis=(1, 3)).ravel())


def _point(level: Pixels, variance: Pixels, shared: Pixels) -> TransferPoint:
    return TransferPoint(float(level.mean()), float(variance.mean()), float(np.median(shared)))


def line_through(level: NDArray[np.float64], variance: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and intercept by least squares; a variance is as uncertain as it is large."""
    expected = variance
    for _ in range(4):
        weight = 1 / np.maximum(expected, 1e-3 * float(variance.max())) ** 2
        middle, centre = np.average(level, weights=weight), np.average(variance, weights=weight)
        away = level - middle
        slope = np.sum(weight * away * (variance - centre)) / np.sum(weight * away**2)
        expected = centre + slope * away
    return float(slope), float(centre - slope * middle)
