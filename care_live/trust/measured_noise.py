"""What the noise of images is like, as measured on them: along neighbours, by level, and from plane to plane.

A camera's pixels have offsets of their own. That pattern is the same in every plane and in every exposure, so a
network that learns from noisy images learns to keep it, unless it is known how strong it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from care_live.trust.camera import CameraModel
from care_live.trust.photon_transfer import (
    BLOCK_PX,
    TransferPoint,
    block_means,
    camera_of,
    second_differences,
    transfer_points,
)

ALIKE = 0.25
"""Correlation of the noise of neighbours from which on they are hidden together."""
WHITE = 0.1
"""Of the nearest neighbours: below it each pixel's noise is its own."""
FIXED = 0.05
"""The same of one pixel in other planes, on average."""
FARTHEST_PX = 4
"""To which noise is compared."""
DARK_SHARE = 0.2
"""Of the image, where noise is measured: elsewhere structures of the specimen look like noise that is alike."""
_SMOOTH_PX, _N_PLANES, _N_IMAGES = 2.0, 16, 8
_MOST_OF_NOISE = 0.5
"""Largest variance of a pattern, in variances of the noise in the dark: more is a structure."""
_OTHER_GAIN, _OTHER_LEVEL = 0.02, 0.1
"""By which exposures differ in brightness: of their signal, and of the standard deviation of their noise."""
_SURE, _N_COMPARED = 3.0, 8
"""Standard errors by which the signal must be off by more than that; planes of each exposure."""
_OTHER_CAMERA = 1.2
"""Times the gain of another channel: more is of another camera."""
_MOST_OFF = 2.0
"""Times the measured variance: with more a camera does not explain it."""
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class NoiseCorrelation:
    """How alike the noise of two pixels is that lie 1 to `FARTHEST_PX` apart, in the dark: 0 not at all, 1 the same."""

    along_y: tuple[float, ...]
    along_x: tuple[float, ...]
    along_z: tuple[float, ...] = ()
    """Of one pixel in other planes; () of single planes."""

    @property
    def reach_px(self) -> tuple[int, int]:
        """How far the noise of neighbours is alike along (y, x)."""
        return _reach(self.along_y), _reach(self.along_x)

    @property
    def is_white(self) -> bool:
        """Tell whether a pixel's noise says nothing of that of its neighbours."""
        return max(self.along_y[0], self.along_x[0]) < WHITE

    @property
    def is_fixed(self) -> bool:
        """Tell whether a pixel's noise is alike in all planes, as a camera's pattern is."""
        apart = self.along_z[1:] or self.along_z  # a specimen is alike in the next plane, too
        return len(apart) > 0 and sum(apart) / len(apart) >= FIXED

    @property
    def axes(self) -> dict[str, tuple[float, ...]]:
        """Return the correlations by axis, those that were measured."""
        return {"y": self.along_y, "x": self.along_x} | ({"z": self.along_z} if self.along_z else {})

    def describe(self) -> str:
        """Return it in a line, a bar and a number for each distance."""
        shown = [
            f"{axis} {_bars(values)} {', '.join(f'{one:.2f}' for one in values)}" for axis, values in self.axes.items()
        ]
        return f"The noise of neighbours is alike by (1 to {FARTHEST_PX} px or planes apart): " + "; ".join(shown)


def _bars(values: Sequence[float]) -> str:
    return "".join(_BARS[int(np.clip(value, 0, 0.999) * len(_BARS))] for value in values)


def _reach(values: Sequence[float]) -> int:
    return next((number for number, value in enumerate(values) if value < ALIKE), len(values))


def correlation_of(images: Sequence[Any]) -> NoiseCorrelation:
    """Measure how alike the noise of neighbours is, where images are dark: means over a few; the most of any channel.

    Parameters
    ----------
    images : each (c, [z,] y, x), alike in their axes
    """
    found = [_of_channel(images, channel) for channel in range(images[0].shape[0])]
    along_z, along_y, along_x = (tuple(map(max, zip(*each, strict=True))) for each in zip(*found, strict=True))
    return NoiseCorrelation(along_y, along_x, along_z)


def _of_channel(images: Sequence[Any], channel: int) -> list[tuple[float, ...]]:
    """Return the correlations along z, y and x."""
    found = [_correlations(_middle_planes(image, channel).astype(np.float32)) for image in _few(images)]
    return [_means(each) for each in zip(*found, strict=True)]


def _means(of_images: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the mean at each distance that all images have: stacks may be of unequal depth."""
    return tuple(float(np.mean(each)) for each in zip(*of_images, strict=False))


def _correlations(planes: NDArray[np.float32]) -> list[list[float]]:
    """Return the correlations along z, y and x."""
    smooth = ndimage.gaussian_filter(planes, (0, _SMOOTH_PX, _SMOOTH_PX))
    dark = smooth < np.quantile(smooth, DARK_SHARE)
    left = np.where(dark, planes - smooth, 0)
    variance = float(np.square(left)[dark].mean()) if dark.any() else 0.0
    return [
        [_alike(left, dark, step, axis) / max(variance, 1e-12) for step in _steps(planes, axis)] for axis in range(3)
    ]


def _steps(planes: NDArray[np.float32], axis: int) -> range:
    return range(1, min(FARTHEST_PX, planes.shape[axis] - 1) + 1)


def _alike(left: NDArray[np.float32], dark: NDArray[np.bool_], step: int, axis: int) -> float:
    """Return the covariance of pixels with those that lie a number of steps behind them, both in the dark."""
    moved, seen = np.moveaxis(left, axis, -1), np.moveaxis(dark, axis, -1)
    products = (moved[..., step:] * moved[..., :-step])[seen[..., step:] & seen[..., :-step]]
    return float(products.mean()) if products.size else 0.0


def correlation_of_repeats(repeats: Sequence[Sequence[Any]]) -> NoiseCorrelation:
    """Measure how alike the noise of neighbours is by the difference of two exposures, which holds noise alone.

    Where the specimen moved in between, its edges stay in the difference, and look like noise that is alike.

    Parameters
    ----------
    repeats : exposures of each volume, (c, [z,] y, x) each
    """
    return correlation_of([_difference(*both[:2]) for both in _few(repeats)])


def _difference(first: Any, second: Any) -> NDArray[np.float32]:
    """Return one exposure less another, (c, z, y, x)."""
    channels = range(first.shape[0])
    shown, other = (np.stack([_middle_planes(image, c) for c in channels]) for image in (first, second))
    return np.asarray(shown.astype(np.float32) - other.astype(np.float32))


def are_equally_bright(repeats: Sequence[Sequence[Any]]) -> bool:
    """Tell whether the exposures of volumes differ by noise alone: a lamp may drift, and a specimen fade.

    The gain of one over the other is that of all volumes together, by the means of blocks: they have little noise, and
    both exposures as much, so that it is the slope of the main axis of their scatter.

    Parameters
    ----------
    repeats : exposures of each volume, (c, [z,] y, x) each
    """
    few = [(first, other) for first, *others in _few(repeats) for other in others]
    channels = range(few[0][0].shape[0])
    return all(_is_as_bright([(_few_planes(one, c), _few_planes(other, c)) for one, other in few]) for c in channels)


def _is_as_bright(pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> bool:
    if min(pairs[0][0].shape[1:]) < 3 * BLOCK_PX:
        return False
    noise = [_noise_sd(first - other) for first, other in pairs]
    apart = max(abs(float((first - other).mean())) / sd for (first, other), sd in zip(pairs, noise, strict=True))
    xx, xy, yy = np.mean([_covariances(*pair) for pair in pairs], axis=0)
    signal = max(float(xy), 1e-12)
    gain = (yy - xx + np.hypot(yy - xx, 2 * signal)) / (2 * signal)
    error = np.mean(noise) * np.sqrt(2 / signal / sum(first.size for first, _ in pairs))
    return bool(apart < _OTHER_LEVEL and abs(gain - 1) < _OTHER_GAIN + _SURE * error)


def _few_planes(image: Any, channel: int) -> NDArray[np.float32]:
    return np.asarray(_middle_planes(image, channel)[:_N_COMPARED], np.float32)


def _noise_sd(difference: NDArray[np.float32]) -> float:
    """Return the standard deviation of the noise of an exposure by its difference from another."""
    noise = np.stack([second_differences(plane) for plane in difference])
    return max(float(np.sqrt(np.mean(np.square(noise)) / 2)), 1e-12)


def _covariances(first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return the variance of one exposure's blocks, the covariance with the other's, and the variance of those."""
    blocks = [np.concatenate([block_means(plane) for plane in planes]) for planes in (first, second)]
    (xx, xy), (_, yy) = np.cov(np.stack(blocks))
    return float(xx), float(xy), float(yy)


def camera_of_images(images: Sequence[Any]) -> CameraModel | None:
    """Measure the camera on a few images, each (c, [z,] y, x).

    None where their light varies too little, where a camera that rounds to whole counts does not explain their noise,
    as in images of 0 to 1, and where channels have other gains. The pattern is what pixels have in common in planes
    that lie half a stack apart; in single planes it is part of the noise.
    """
    channels = [_points(_few(images), channel) for channel in range(images[0].shape[0])]
    cameras = [camera_of(points, "the images themselves") for points in channels]
    gains = [0.0 if camera is None else camera.gain for camera in cameras]
    if cameras[0] is None or max(gains) > _OTHER_CAMERA * min(gains):
        return None
    return cameras[0] if all(_explains(cameras[0], points) for points in channels) else None


def _points(images: Sequence[Any], channel: int) -> tuple[TransferPoint, ...]:
    found = [_staggered(_middle_planes(image, channel)) for image in images]
    return tuple(point for planes in found for point in transfer_points(planes))


def _explains(camera: CameraModel, points: Sequence[TransferPoint]) -> bool:
    """Tell whether a camera has about the noise that was measured."""
    measured = np.array([point.variance for point in points])
    expected = camera.variance(np.array([point.level for point in points])) + camera.pattern_sd**2
    ratio = float(np.median(expected / np.maximum(measured, 1e-30)))
    return 1 / _MOST_OFF < ratio < _MOST_OFF


def pattern_sd_of(stacks: Sequence[Any]) -> tuple[float, ...]:
    """Return the standard deviation (counts) of what the noise of planes has in common that lie half a stack apart.

    One a channel; () where there is no stack.

    A plane that is alone says nothing: what it has in common with another exposure are its fine structures, too.

    Parameters
    ----------
    stacks : (c, [z,] y, x) each
    """
    several = _few([stack for stack in stacks if stack.ndim > 3 and stack.shape[1] > 1])
    return tuple(_pattern_sd(_points(several, channel)) for channel in range(several[0].shape[0] if several else 0))


def _pattern_sd(points: Sequence[TransferPoint]) -> float:
    darkest = sorted(points, key=lambda point: point.level)[: (len(points) + 1) // 2]
    if not darkest:
        return 0.0
    noise, pattern = (
        float(np.median([getattr(one, name) for one in darkest])) for name in ("variance", "pattern_variance")
    )
    return float(np.sqrt(np.clip(pattern, 0, _MOST_OF_NOISE * noise)))


def without_shared_pattern(
    first: NDArray[np.float32], second: NDArray[np.float32], sd: Sequence[float], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two exposures that have no pattern in common: one as strong is added to the first, taken from the second.

    Parameters
    ----------
    first, second : (c, [z,] y, x) counts
    sd : of the camera's pattern, counts, one a channel; () for no pattern
    """
    if not any(sd):
        return first, second
    pattern = pattern_like(first.shape, sd, rng)
    return first + pattern, second - pattern


def pattern_like(shape: Sequence[int], sd: float | Sequence[float], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a camera's pattern, the same in all planes, for an image (c, [z,] y, x); `sd` for all channels or each."""
    strength = np.asarray(sd, np.float32).reshape(-1, *[1] * (len(shape) - 1))
    return strength * rng.standard_normal((shape[0], *[1] * (len(shape) - 3), *shape[-2:]), np.float32)


def _few(images: Sequence[Any]) -> Sequence[Any]:
    return images[:: max(1, -(-len(images) // _N_IMAGES))]


def _middle_planes(image: Any, channel: int) -> NDArray[Any]:
    """Return some planes, one after the other, of a channel of an image (c, [z,] y, x), as (z, y, x)."""
    chosen = slice(channel, channel + 1)
    if image.ndim == 3:
        return np.asarray(image[chosen])
    first = max(0, (image.shape[1] - _N_PLANES) // 2)
    planes: NDArray[Any] = np.asarray(image[chosen, first : first + _N_PLANES])[0]
    return planes


def _staggered(planes: NDArray[Any]) -> NDArray[Any]:
    """Return planes in an order in which neighbours lie half the stack apart."""
    half = len(planes) // 2
    order = [z for pair in zip(range(half), range(half, 2 * half), strict=True) for z in pair]
    return planes[[*order, *range(2 * half, len(planes))]]
