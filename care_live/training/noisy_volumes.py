"""Noisy images as examples: some pixels are hidden in their patches, or each patch becomes two with independent noise.

The two are y + a·n and y - n/a, for n as noisy as y. The mean over many draws of the second is the clean image,
whatever the first is, so a network that maps one to the other learns the clean image, as it does from two exposures: by
every pixel, where hidden ones are few.

The camera's pattern is noise, too, but the same in all planes. So n has a pattern of its own, which is the same in all
planes of a patch: what the pattern of y has in common in both images, that of n takes away.

References
----------
Pang et al., "Recorrupted-to-Recorrupted", CVPR 2021; Lehtinen et al., "Noise2Noise", ICML 2018.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from care_live.training import percentile_jitter
from care_live.training.examples import Patch
from care_live.training.measured_noise import FARTHEST_PX, pattern_like
from care_live.training.percentile_jitter import SpanTable
from care_live.trust.camera import CameraModel

HIDDEN_SHARE = 0.08
"""Of the pixels of a patch, those included that are hidden along structured noise. On planes of a mouse brain, 60 times
dimmer, it is 0.1 dB better than 0.02 after as many updates."""
RECORRUPTION = 0.5
"""a: of the noise, what is added to the image that is restored."""
SHARE_OF_SECOND = 1 / (1 + RECORRUPTION**2)
"""Of the mean squared difference of both images that is noise of the second."""
_SMOOTH_PX = 1.0
"""Along y and x: the noise of a count must not follow from the chance of that very count."""


@dataclass(frozen=True, slots=True, eq=False)
class NoisyVolume:
    """One noisy image; in its patches some pixels are hidden, and the target is NaN at all others."""

    name: str
    file: str
    image: Any
    """(c, [z,] y, x)."""
    span: SpanTable
    foreground: NDArray[np.int64]
    structure_px: tuple[int, int] = (0, 0)
    """How far noise is alike along (y, x)."""
    is_fixed: bool = False
    """Whether a pixel's noise is alike in all planes."""

    @property
    def shape_px(self) -> tuple[int, ...]:
        return tuple(self.image.shape[1:])

    def cut(self, corner: Sequence[int], patch_px: Sequence[int], rng: np.random.Generator | None) -> Patch:
        percentiles = percentile_jitter.USUAL if rng is None else percentile_jitter.draw(rng)
        window = (slice(None), *(slice(start, start + size) for start, size in zip(corner, patch_px, strict=True)))
        seen = percentile_jitter.normalise(np.asarray(self.image[window]), self.span.at(*percentiles))
        rng = np.random.default_rng(list(corner)) if rng is None else rng
        return hide(seen, rng, self.structure_px, is_fixed=self.is_fixed)


def hide(
    image: NDArray[np.float32],
    rng: np.random.Generator,
    structure_px: tuple[int, int] = (0, 0),
    *,
    is_fixed: bool = False,
) -> Patch:
    """Replace some pixels of an image (c, [z,] y, x), and return it with those pixels as they were, NaN elsewhere.

    Parameters
    ----------
    is_fixed : hide a pixel in all planes together
    """
    shape = image.shape[1:]
    drawn = rng.random((1, *shape[1:]) if is_fixed and len(shape) > 2 else shape)
    chosen = np.argwhere(np.broadcast_to(drawn < HIDDEN_SHARE / (1 + 2 * sum(structure_px)), shape))
    shown, wanted = image.copy(), np.full_like(image, np.nan)
    wanted[_pixels(chosen)] = image[_pixels(chosen)]
    for reach, axis in zip(structure_px, (-2, -1), strict=True):
        for step in (step for step in range(-reach, reach + 1) if step):
            beside = chosen.copy()
            beside[:, axis] = np.clip(beside[:, axis] + step, 0, shape[axis] - 1)
            shown[_pixels(beside)] = _any_near(image, beside, rng)
    shown[_pixels(chosen)] = _median_near(shown, chosen, within_plane=is_fixed)
    return Patch(shown, wanted)


def _pixels(places: NDArray[np.int64]) -> tuple[Any, ...]:
    """Return the index of places (…, axes) in all channels of an image."""
    return (slice(None), *np.moveaxis(places, -1, 0))


def _median_near(
    image: NDArray[np.float32], places: NDArray[np.int64], *, within_plane: bool = False
) -> NDArray[np.float32]:
    """Return the median of the neighbours of places (n, axes), without themselves: (c, n)."""
    steps = itertools.product((-1, 0, 1), repeat=places.shape[1])
    offsets = np.array([step for step in steps if any(step) and not (within_plane and any(step[:-2]))])
    around = _mirrored(places[:, None] + offsets, image.shape[1:])  # (n, neighbours, axes)
    return np.asarray(np.median(image[_pixels(around)], axis=-1), np.float32)


def _any_near(image: NDArray[np.float32], places: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a pixel from somewhere near each place: (c, n)."""
    around = _mirrored(places + rng.integers(-FARTHEST_PX - 1, FARTHEST_PX + 2, places.shape), image.shape[1:])
    return np.asarray(image[_pixels(around)], np.float32)


def _mirrored(places: NDArray[np.int64], shape: Sequence[int]) -> NDArray[np.int64]:
    """Return places inside of an image: what is outside is mirrored at the last pixel."""
    last = np.array(shape) - 1
    inside = np.abs(places)
    return np.clip(np.where(inside > last, 2 * last - inside, inside), 0, last)


@dataclass(frozen=True, slots=True, eq=False)
class RecorruptedVolume:
    """A noisy image each patch of which is two with independent noise: to learn from, and to judge with."""

    volume: NoisyVolume
    camera: CameraModel

    @property
    def name(self) -> str:
        return self.volume.name

    @property
    def shape_px(self) -> tuple[int, ...]:
        return self.volume.shape_px

    @property
    def foreground(self) -> NDArray[np.int64]:
        return self.volume.foreground

    def cut(self, corner: Sequence[int], patch_px: Sequence[int], rng: np.random.Generator | None) -> Patch:
        percentiles = percentile_jitter.USUAL if rng is None else percentile_jitter.draw(rng)
        rng = np.random.default_rng(list(corner)) if rng is None else rng
        window = (slice(None), *(slice(start, start + size) for start, size in zip(corner, patch_px, strict=True)))
        counts = np.asarray(self.volume.image[window], np.float32)
        noise = noise_like(counts, self.camera, rng)
        pair = counts + np.float32(RECORRUPTION) * noise, counts - noise / np.float32(RECORRUPTION)
        span = self.volume.span.at(*percentiles)
        return Patch(*(percentile_jitter.normalise(image, span) for image in pair))


def noise_like(counts: NDArray[np.float32], camera: CameraModel, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return noise as that of an image of counts (c, [z,] y, x), with a pattern of its own."""
    expected = ndimage.gaussian_filter(counts, (*[0.0] * (counts.ndim - 2), _SMOOTH_PX, _SMOOTH_PX))
    noise = rng.standard_normal(counts.shape, np.float32)
    noise *= np.sqrt(camera.variance(expected))
    noise += pattern_like(counts.shape, camera.pattern_sd, rng)
    return noise
