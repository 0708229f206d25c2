"""The domain check: is this run of the kind that the network was trained for, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from care_live.model.card import DomainFeatures, ModelCard

_SIZE_RATIO = 1.4
"""Voxels this much larger or smaller than in training: structures look like others."""
_PHOTON_RATIO = 2.0
_EXPOSURE_RATIO = 2.0
_MOST_SATURATED = 1e-3


@dataclass(frozen=True, slots=True)
class VolumeTraits:
    """What one volume is like."""

    voxel_size_um: tuple[float, float, float]
    """(z, y, x); all 1: not known."""
    low: float
    """Counts that became 0 before the network."""
    high: float
    """Counts that became 1."""
    signal_electrons: float | None = None
    """Photo-electrons at `high`; None: the camera is not known."""
    exposure_ms: float | None = None
    pixel_bits: int | None = None
    """8 or 16; None: not known."""
    saturated: float = 0.0
    """Share of the voxels at the camera's maximum."""
    features: tuple[float, ...] = ()
    """`care_live.trust.features` of the restored volume."""
    n_voxels: int = 0
    """Of the raw volume; 0: not known."""


def reasons(seen: VolumeTraits, card: ModelCard) -> tuple[str, ...]:
    """Return in what a volume lies outside of training; what the card lacks is not checked."""
    found = [
        *_voxel_sizes(seen.voxel_size_um, card.voxel_size_um, card.axes),
        _range(seen.signal_electrons, card.training.signal_electrons, _PHOTON_RATIO, _PHOTONS),
        _range(seen.exposure_ms, card.training.exposure_ms, _EXPOSURE_RATIO, _EXPOSURES),
        _intensities(seen, card.training.intensity_counts),
        _bits(seen.pixel_bits, card.training.pixel_bits),
        _saturation(seen.saturated),
        _unlike(seen, card.training.features),
    ]
    return tuple(reason for reason in found if reason)


def of_channels(run: Sequence[str], network: Sequence[str]) -> tuple[str, ...]:
    """Return which channels that a network restores have other names than those of its training.

    Parameters
    ----------
    run : names of the channels that it restores
    network : names in its card; *any* and made-up ones say nothing
    """
    known = [name for name in network if name != "any" and not name.startswith("channel-")]
    other = [name for name in run if known and name not in known and name != "default" and not _is_made_up(name)]
    if not other:
        return ()
    which = f"channel {other[0]} is" if len(other) == 1 else f"channels {', '.join(other)} are"
    return (f"{which} restored, the network was trained on {', '.join(known)}",)


def _is_made_up(name: str) -> bool:
    """Tell whether a data set gave a channel no name but its number, see `care_live.recorded.recording.names_of`."""
    return name.removeprefix("channel ").isdecimal() and name.startswith("channel ")


def distance(features: Sequence[float], trained: DomainFeatures) -> float:
    """Return the Mahalanobis distance of features from those of training, per square root of their number."""
    away = np.subtract(features, trained.mean)
    n = len(away)
    inverse = np.asarray(trained.inverse_covariance).reshape(n, n)
    return float(math.sqrt(max(away @ inverse @ away, 0.0) / n))


def limit_of(n_voxels: int, trained: DomainFeatures) -> float:
    """Return the largest distance of a raw volume of that size that is still of the kind of training."""
    if not 0 < n_voxels < trained.n_voxels:
        return trained.limit
    return trained.limit * float((trained.n_voxels / n_voxels) ** trained.growth)


_PHOTONS = (
    "the brightest voxels count about {seen:.3g} photo-electrons, the network was trained with {low:g} to {high:g}"
)
_EXPOSURES = "the exposure is {seen:g} ms, the network was trained with {low:g} to {high:g} ms"


def _voxel_sizes(seen: Sequence[float], trained: Sequence[float] | None, axes: str) -> list[str]:
    """Compare the voxels along the axes that the network reads; one of single planes does not read the step in z."""
    if trained is None or all(size == 1.0 for size in seen):
        return []
    sizes = [pair for pair in zip("zyx", seen, trained, strict=True) if pair[0].upper() in axes]
    pairs = [(axis, a, b) for axis, a, b in sizes if _apart(a, b) > _SIZE_RATIO]
    if len(pairs) == 2 and pairs[0][1:] == pairs[1][1:]:  # y and x alike
        pairs = [("", *pairs[0][1:])]
    return [
        f"voxels are {a:.3g} um{f' along {axis}' if axis else ''}, the network was trained at {b:.3g} um"
        for axis, a, b in pairs
    ]


def _apart(a: float, b: float) -> float:
    return max(a / b, b / a) if a > 0 and b > 0 else math.inf


def _range(seen: float | None, trained: tuple[float, float] | None, ratio: float, says: str) -> str:
    if seen is None or trained is None or trained[0] / ratio <= seen <= trained[1] * ratio:
        return ""
    return says.format(seen=seen, low=trained[0], high=trained[1])


def _intensities(seen: VolumeTraits, trained: tuple[float, float] | None) -> str:
    if trained is None:
        return ""
    width = max(trained[1] - trained[0], 1.0)
    if trained[0] - width <= seen.low and seen.high <= trained[1] + width:
        return ""
    return (
        f"intensities reach from {seen.low:.4g} to {seen.high:.4g} counts, "
        f"in training from {trained[0]:.4g} to {trained[1]:.4g}"
    )


def _bits(seen: int | None, trained: int | None) -> str:
    if seen is None or trained is None or seen == trained:
        return ""
    return f"pixels have {seen} bits, the network was trained with pixels of {trained} bits"


def _saturation(share: float) -> str:
    return f"{share:.1%} of the voxels are saturated: their counts are too low" if share > _MOST_SATURATED else ""


def _unlike(seen: VolumeTraits, trained: DomainFeatures | None) -> str:
    if trained is None or len(seen.features) != len(trained.mean):
        return ""
    away, limit = distance(seen.features, trained), limit_of(seen.n_voxels, trained)
    if away <= limit:
        return ""
    return f"its structures are unlike those of training (distance {away:.1f}, in training at most {limit:.1f})"
