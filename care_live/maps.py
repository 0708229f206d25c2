"""The maps of a restored volume: one number a voxel, one name for each everywhere, and one table that describes them.

A new map is a name in `Head` and a row in `MAPS`. The table says how it travels (`care_live.wire.arrays`), where it is
stored (`care_live.recorded.run_records`), how a coarser level of it is made, and how a viewer draws it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]
Head: TypeAlias = Literal["mean", "laplace_scale", "disagreement", "evidence"]
"""What a network, or a check of it, gives for each voxel."""


SIGNED_STEPS = 127
"""Of a map with two sides, from 0 to its limit."""
MAX_LEVEL = 8
"""How often rows and columns are halved at most."""


@dataclass(frozen=True, slots=True)
class MapKind:
    """What everything between the network and the screen must know of one map."""

    label: str
    """On a screen."""
    meaning: str
    """For a person who finds it in the store."""
    unit: Literal["counts", "1"]
    """*counts*: camera counts."""
    coding: Literal["affine", "log2", "signed"]
    """Quantised: 16 bits between its smallest and largest value · 8 bits, sixteenths of an octave, for widths and
    shares, never negative · 8 bits on both sides of 0, up to `limit`. A coarser level has the average · the
    largest · the value farthest from 0: it never looks surer than the volume that it was made of."""
    mended: float
    """Stands where the network gave no number."""
    limit: float | None = None
    """Drawn at full strength; None: as the volume demands."""
    mark: float | None = None
    """Drawn as a mark where it is at least so far from 0; None: nowhere."""
    folder: str = ""
    """In the store; empty: the map's name."""

    @property
    def may_be_negative(self) -> bool:
        return self.coding != "log2"

    @property
    def limits(self) -> tuple[float, float] | None:
        """Drawn at no and at full strength; None: as the volume demands."""
        if self.limit is None:
            return None
        return (-self.limit if self.may_be_negative else 0.0), self.limit


_SIDES = "above 0 what the camera counted is missing, below 0 it is invented; what is marked counts against the volume"

MAPS: Mapping[Head, MapKind] = {
    "mean": MapKind(
        "restored", "the network's estimate of the mean, camera counts", "counts", "affine", 0.0, folder="restored"
    ),
    "laplace_scale": MapKind(
        "relative uncertainty", "the network's Laplace scale b per voxel, camera counts", "counts", "log2", np.inf
    ),
    "disagreement": MapKind(
        "disagreement", "disagreement D of the ensemble per voxel, 0 (agree) to 1", "1", "log2", 1.0, limit=1.0
    ),
    "evidence": MapKind(  # in steps of 1/8, which neither codes nor few bits of a mantissa change
        "evidence",
        f"raw minus restored, in units of the camera's noise: {_SIDES}",
        "1",
        "signed",
        0.0,
        limit=15.875,
        mark=4.75,
    ),
}
"""In the order in which they are listed everywhere."""
HEADS: tuple[Head, ...] = tuple(MAPS)


def kind_of(name: str) -> MapKind | None:
    """Return what is known of a map; None: no map has this name, as the raw planes have none."""
    return next((kind for head, kind in MAPS.items() if head == name), None)


def level_of(shape: Sequence[int], full: Sequence[int]) -> int | None:
    """Return how often the rows and columns of a map (…, y, x) are halved, against those of an image of full size.

    Returns
    -------
    0: one number a voxel · n: one for a square of 2^n voxels a side · None: it is no map of this image
    """
    for level in range(MAX_LEVEL + 1):
        if all(-(-n // 2**level) == own for own, n in zip(shape[-2:], full[-2:], strict=True)):
            return level
    return None


def in_steps(head: Head, values: Array) -> Array:
    """Return a map with two sides in the steps of its codes (`care_live.wire.number_codes.signed`)."""
    step = step_of(head)
    codes = np.rint(values * np.float32(1 / step))
    np.clip(codes, -SIGNED_STEPS, SIGNED_STEPS, out=codes)
    codes *= np.float32(step)
    return np.asarray(codes)


def step_of(head: Head) -> float:
    """Return the step of the codes of a map with two sides and a limit."""
    limit = MAPS[head].limit
    assert limit is not None, f"{head} has no limit"
    return limit / SIGNED_STEPS


def folder_of(head: Head) -> str:
    """Return the name of a map's images in the store."""
    return MAPS[head].folder or head


BY_FOLDER: Mapping[str, MapKind] = {folder_of(head): kind for head, kind in MAPS.items()}
"""The same table by the names in the store."""
