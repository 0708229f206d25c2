"""Abstention curves: how small the error becomes where the most doubtful places of a volume are left out.

Places are blocks of 8x32x32 voxels. A curve by whole volumes says little: each has good and bad places.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.images import Restored
from care_live.trust import evidence
from care_live.trust.smooth import smooth
from care_live.trust.surroundings import SCALES_PX

Image = NDArray[Any]
_WRONG = 0.05
"""Of the range."""
_BLOCK_PX = (8, 32, 32)
_KEPT = (100, 90, 75, 50)


@dataclass
class Blocks:
    """Errors and doubts of blocks, volume by volume; flat."""

    squared: list[Image] = field(default_factory=list)
    """Mean squared error, share of the range²."""
    largest: list[Image] = field(default_factory=list)
    """Of the error smoothed as a nucleus, share of the range."""
    by_evidence: list[Image] = field(default_factory=list)
    """Largest smoothed residual, standard deviations."""
    by_interval: list[Image] = field(default_factory=list)
    """What the network says of its error, share of the range."""

    def add(self, restored: Restored, truth: Image, found: evidence.Evidence) -> None:
        """Take the blocks of one volume."""
        width = restored.high - restored.low
        off = (restored.maps["mean"] - truth) / width
        self.squared.append(_pooled(off * off, _BLOCK_PX, np.mean))
        self.largest.append(_pooled(np.abs(smooth(np.ascontiguousarray(off), SCALES_PX[1])), _BLOCK_PX, np.max))
        self.by_evidence.append(_pooled(np.abs(found.maps[1]), (8, 16, 16), np.max))
        self.by_interval.append(_pooled(restored.maps["laplace_scale"] / width, _BLOCK_PX, np.mean))

    def figures(self) -> dict[str, float]:
        """Return the error kept for some shares of the blocks, by each doubt, and how residuals tell wrong blocks."""
        squared, largest, z, scale = (
            np.concatenate(parts) for parts in (self.squared, self.largest, self.by_evidence, self.by_interval)
        )
        doubts = {
            "": np.maximum(_ranks(z), _ranks(scale)),
            "_by_evidence": z,
            "_by_interval": scale,
            "_at_best": squared,
        }
        figures = {"auroc_error": auroc(z[largest < _WRONG], z[largest >= _WRONG])}
        for name, doubt in doubts.items():
            ordered = squared[np.argsort(doubt, kind="stable")]
            for kept in _KEPT if not name else _KEPT[1:]:
                error = np.sqrt(ordered[: max(1, len(ordered) * kept // 100)].mean())
                figures[f"error_kept_{kept}{name}"] = round(float(error), 5)
        return figures


def auroc(low: Image, high: Image) -> float:
    """Return the chance that one of the second kind lies above one of the first."""
    if not len(low) or not len(high):
        return float("nan")
    ordered = np.sort(low)
    below, not_above = (np.searchsorted(ordered, high, side=side) for side in ("left", "right"))
    return round(float((below + not_above).mean() / (2 * len(low))), 4)


def _ranks(values: Image) -> Image:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable") / len(values)


def _pooled(volume: Image, block: tuple[int, int, int], how: Any) -> Image:
    nz, ny, nx = (side // size for side, size in zip(volume.shape, block, strict=True))
    cut = volume[: nz * block[0], : ny * block[1], : nx * block[2]]
    blocks = cut.reshape(nz, block[0], ny, block[1], nx, block[2])
    return np.asarray(how(blocks, axis=(1, 3, 5))).ravel()
