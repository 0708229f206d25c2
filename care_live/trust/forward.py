"""Forward models: what raw counts a restoration predicts, by the network's task.

*denoise*: the restoration itself · *upsample*: its planes at the places of raw ones · *isotropic*: the same, after a
blur along z · *deconvolve*: after a blur along all axes, with brightness and background fitted · *project*: every raw
plane is compared with the one projected plane, so only what no plane shows counts as invented.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.model.card import ModelCard
from care_live.trust.smooth import smooth

Array: TypeAlias = NDArray[np.float32]
Blur: TypeAlias = tuple[float, float, float]

_AXIAL_PX = (0.0, 0.7, 1.0, 1.5, 2.0, 3.0, 4.5, 6.0)
_LATERAL_PX = (0.0, 0.7, 1.0, 1.5, 2.0, 3.0)
NO_BLUR: Blur = (0.0, 0.0, 0.0)


class Predicted(NamedTuple):
    """Expected raw counts."""

    counts: Array
    """(z, y, x), as the raw volume."""
    blur_px: Blur
    """The Gaussian that stands for the point spread function, restored voxels."""


def why_not(card: ModelCard) -> str:
    """Return why a network's results can't be compared with raw counts; empty: they can."""
    if card.output != "counts":
        return "the network does not give camera counts"
    if len(card.channels_in) != len(card.channels_out):
        return "the network mixes channels"
    return ""


def predict(mean: Array, raw: NDArray[Any], card: ModelCard, blur_px: Blur | None = None) -> Predicted:
    """Return what a restoration predicts for its raw volume.

    Parameters
    ----------
    mean : (z, y, x) restored, counts
    raw : (z, y, x) counts
    blur_px : as found on an earlier volume; None: the Gaussian that leaves the smallest residual, out of a few
    """
    if card.task == "project":
        return Predicted(np.broadcast_to(mean[:1], raw.shape), NO_BLUR)
    if card.task in {"denoise", "upsample"}:
        return Predicted(at_raw_planes(mean, len(raw)), NO_BLUR)
    if blur_px is not None:
        return Predicted(_blurred(mean, raw, card, blur_px), blur_px)
    tried = [Predicted(_blurred(mean, raw, card, blur), blur) for blur in _candidates(card, len(mean))]
    return min(tried, key=lambda one: _misfit(one.counts, raw))


def at_raw_planes(restored: Array, n_raw: int) -> Array:
    """Interpolate restored planes at the places of raw ones: the first and last are the same."""
    if len(restored) == n_raw:
        return restored
    place = np.linspace(0, len(restored) - 1, n_raw)
    below = np.minimum(place.astype(int), max(len(restored) - 2, 0))
    weight = (place - below).astype(np.float32)[:, np.newaxis, np.newaxis]
    above = np.minimum(below + 1, len(restored) - 1)
    return np.asarray(restored[below] * (1 - weight) + restored[above] * weight)


def _candidates(card: ModelCard, n_z: int) -> list[Blur]:
    axial = _AXIAL_PX if n_z > 1 else (0.0,)
    if card.task == "isotropic":
        return [(sigma * max(card.factor, 1.0) / 2, 0.0, 0.0) for sigma in axial]
    return [(along_z, lateral, lateral) for along_z in axial[:: 2 if n_z > 1 else 1] for lateral in _LATERAL_PX]


def _blurred(mean: Array, raw: NDArray[Any], card: ModelCard, blur_px: Blur) -> Array:
    expected = at_raw_planes(smooth(np.ascontiguousarray(mean), blur_px), len(raw))
    return _fitted(expected, raw) if card.task == "deconvolve" else expected


def _fitted(expected: Array, raw: NDArray[Any]) -> Array:
    """Give a sharp picture the brightness and the background of what is seen of it, by least squares."""
    step = max(1, expected.size // 200_000)
    x, y = (array.reshape(-1)[::step].astype(np.float64) for array in (expected, raw))
    away, spread = x - x.mean(), float(np.var(x))
    slope = float(np.mean(away * (y - y.mean()))) / spread if spread > 0 else 1.0
    base = float(y.mean() - slope * x.mean())
    return np.asarray(expected * np.float32(slope) + np.float32(base))


def _misfit(expected: Array, raw: NDArray[Any]) -> float:
    """Return the mean squared residual of planes spread over the stack."""
    planes = np.unique(np.linspace(0, len(raw) - 1, 6).astype(int))
    return float(np.mean([np.square(raw[z] - expected[z]).mean() for z in planes]))
