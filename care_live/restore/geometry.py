"""All channels of one time point in one array, gaps filled, and the shape of what comes out of the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import RestoreError
from care_live.images import Counts, Flag, Integrity, Volume
from care_live.model.card import ModelCard
from care_live.percentiles import Histogram, Span, histogram, is_counts

_CEILINGS = (4095, 16383, 65535, 255)
"""Largest counts of 12-, 14-, 16- and 8-bit cameras."""
_FEW = 3
"""At least this number of pixels at a ceiling is no coincidence."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """All channels of one time point and position."""

    pixels: Counts
    """(c, z, y, x) camera counts, missing planes filled with the nearest one."""
    histograms: tuple[Histogram | None, ...]
    """Of each channel, of the planes that came; None where the pixels are no camera counts (int16, uint32, float32)."""
    flags: frozenset[Flag]


def source_of(output: int, n_sources: int) -> int:
    """Return which of the volumes that a network read together an output channel belongs to."""
    return min(output, n_sources - 1)


def gather(volumes: Sequence[Volume], counts: Sequence[Histogram] | None = None) -> Field:
    """Stack the channels of one time point.

    Parameters
    ----------
    volumes : one for each channel
    counts : histogram of each channel, where they were counted while the planes came

    Raises
    ------
    RestoreError
        The channels differ in shape or type, a volume has no plane at all, or a pixel is not finite.
    """
    first = volumes[0].pixels
    for volume in volumes:
        if (volume.pixels.shape, volume.pixels.dtype) != (first.shape, first.dtype):
            raise RestoreError(
                f"channel {volume.key.c} is {volume.pixels.dtype} {volume.pixels.shape} but channel "
                f"{volumes[0].key.c} is {first.dtype} {first.shape}: a network takes channels of one shape"
            )
        if not volume.integrity.received:
            raise RestoreError(f"volume {tuple(volume.key)} has no plane: there is nothing to restore")
        _refuse_infinite(volume)
    histograms: tuple[Histogram | None, ...]
    missing = any(volume.integrity.missing for volume in volumes)
    if counts is None or missing or any(first.size != count.sum() for count in counts):
        histograms = tuple(_counted(received(volume.pixels, volume.integrity)) for volume in volumes)
    else:
        histograms = tuple(counts)
    pixels = [fill_missing(volume.pixels, volume.integrity) for volume in volumes]
    stacked: Counts = pixels[0][np.newaxis] if len(pixels) == 1 else np.stack(pixels)  # type: ignore[assignment]
    return Field(stacked, histograms, _flags(volumes, histograms))


def _counted(pixels: Counts) -> Histogram | None:
    return histogram(pixels) if is_counts(pixels) else None


def _refuse_infinite(volume: Volume) -> None:
    if volume.pixels.dtype.kind == "f" and (n := volume.pixels.size - int(np.isfinite(volume.pixels).sum())):
        raise RestoreError(
            f"volume {tuple(volume.key)} has {n} pixels that are infinite or not a number: repair it first"
        )


def received(pixels: Counts, integrity: Integrity) -> Counts:
    """Return the planes that came: zeros of missing planes must not move the percentiles."""
    if not integrity.missing:
        return pixels
    came = set(integrity.received)
    chosen: Counts = pixels[[i for i, z in enumerate(integrity.expected) if z in came]]
    return chosen


def fill_missing(pixels: Counts, integrity: Integrity) -> Counts:
    """Return the volume with each missing plane replaced by the nearest one that came."""
    if not integrity.missing:
        return pixels
    planes, came = np.array(integrity.expected), np.array(sorted(integrity.received))
    nearest = came[np.abs(planes[:, np.newaxis] - came).argmin(axis=1)]
    filled: Counts = pixels[np.searchsorted(planes, nearest)]
    return filled


def is_saturated(counts: Histogram) -> bool:
    """Return whether the brightest pixels sit at a camera's ceiling."""
    brightest = int(np.flatnonzero(counts)[-1]) if counts.any() else 0
    return brightest == len(counts) - 1 or (brightest in _CEILINGS and int(counts[brightest]) >= _FEW)


def _at_limit(pixels: Counts) -> bool:
    """Return whether a pixel has the largest value of its type; floating-point numbers have no such limit."""
    return pixels.dtype.kind in "iu" and int(pixels.max()) == np.iinfo(pixels.dtype).max


def _flags(volumes: Sequence[Volume], histograms: Sequence[Histogram | None]) -> frozenset[Flag]:
    found: set[Flag] = set()
    if any(volume.integrity.missing for volume in volumes):
        found.add("missing_plane")
    if any(
        _at_limit(volume.pixels) if counts is None else is_saturated(counts)
        for volume, counts in zip(volumes, histograms, strict=True)
    ):
        found.add("saturated")
    return frozenset(found)


def upsampled_planes(n_planes: int, factor: float) -> int:
    """Return how many planes `upsample_z` makes."""
    return max(1, round(n_planes * factor))


def rounds(card: ModelCard, pixels: NDArray[Any]) -> bool:
    """Return whether the network takes interpolated planes of these pixels as whole counts."""
    return card.upsampled == "csbdeep" and is_counts(pixels)


def upsample_z(pixels: NDArray[Any], factor: float, *, whole_counts: bool = False) -> NDArray[np.float32]:
    """Interpolate planes linearly: the first and last stay, as many in between as the factor says.

    Parameters
    ----------
    pixels : (c, z, y, x)
    factor : restored planes per raw plane, any number
    whole_counts : round, half up, as ``scipy.ndimage.zoom`` does for images of whole numbers
    """
    n_raw, n_out = pixels.shape[1], upsampled_planes(pixels.shape[1], factor)
    out = np.empty((pixels.shape[0], n_out, *pixels.shape[2:]), np.float32)
    number = np.float64 if whole_counts else np.float32  # in float32 too many halves would fall to the wrong side
    for i in range(n_out):
        place = i * (n_raw - 1) / (n_out - 1) if n_out > 1 else 0.0
        below = min(int(place), max(n_raw - 2, 0))
        above = min(below + 1, n_raw - 1)
        weight = number(place - below)
        plane = pixels[:, below] * (number(1) - weight) + pixels[:, above] * weight
        out[:, i] = np.floor(plane + 0.5) if whole_counts else plane
    return out


def output_shape(card: ModelCard, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Return (c_out, z, y, x) of the result for a raw volume (z, y, x)."""
    z, y, x = shape
    if card.task in {"isotropic", "upsample"}:
        z = upsampled_planes(z, card.factor)
    elif card.task == "project":
        z = 1
    return (len(card.channels_out), z, y, x)


def output_voxel_um(card: ModelCard, shape: Sequence[int], voxel_um: Sequence[float]) -> tuple[float, float, float]:
    """Return the (z, y, x) voxel size of the result for a raw volume (z, y, x)."""
    n_out = output_shape(card, shape)[1]
    dz, dy, dx = voxel_um
    if card.task == "project":
        return (dz * shape[0], dy, dx)
    if n_out > 1 and shape[0] > 1:
        return (dz * (shape[0] - 1) / (n_out - 1), dy, dx)
    return (dz, dy, dx)


def output_spans(card: ModelCard, spans: Sequence[Span]) -> list[Span]:
    """Return the range of each output channel; (0, 1) where the network does not give camera counts."""
    n_out = len(card.channels_out)
    if card.normalisation == "in-graph" and card.output == "counts" and n_out == len(spans):
        return list(spans)
    return [Span(0.0, 1.0)] * n_out
