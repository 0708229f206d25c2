"""What an acquisition will deliver, and the indices of its planes and volumes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

REFERENCE = " (reference)"
"""Ends the name of a channel whose planes show another channel a second time, at full light."""


class VolumeKey(NamedTuple):
    """Which volume of a run: time point, stage position, channel."""

    t: int
    p: int = 0
    c: int = 0


@lru_cache(maxsize=4096)
def one_key(key: VolumeKey) -> VolumeKey:
    """Return the object that stands for all equal keys of late: tables that last as long as a run share it."""
    return key


class PlaneIndex(NamedTuple):
    """Where a frame belongs in a run: time point, stage position, channel, plane."""

    t: int = 0
    p: int = 0
    c: int = 0
    z: int = 0

    @property
    def volume(self) -> VolumeKey:
        return VolumeKey(self.t, self.p, self.c)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the acquisition will deliver, taken from its events and never from start, end and step."""

    stacks: Mapping[VolumeKey, tuple[int, ...]]
    """The z indices that each volume will get, sorted. Empty: nothing is known before the planes come."""
    shape_px: tuple[int, int]
    """(y, x) of one plane."""
    dtype: str = "uint16"
    """numpy name of the camera counts' type, uint8 or uint16."""
    voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """(z, y, x), micrometres."""
    channels: tuple[str, ...] = ("default",)
    positions: tuple[str, ...] = ("default",)
    interval_s: float = 0.0
    """Planned time between time points; 0 is as fast as possible."""
    endless: bool = False
    """Every time point is like time point 0, and their number is unknown (a loop, a GUI's run)."""

    def planes_of(self, key: VolumeKey) -> tuple[int, ...] | None:
        """Return the z indices planned for a volume, or None for a volume outside the plan.

        References come at some time points only: a plan of every time point does not say at which.
        """
        if self.endless and self.twin_of(key.c) is not None:
            return None
        return self.stacks.get(VolumeKey(0, key.p, key.c) if self.endless else key)

    def twin_of(self, c: int) -> int | None:
        """Return the channel that a reference channel shows once more; None for every other channel."""
        return twin_of(self.channels, c)

    @property
    def n_planes(self) -> int:
        """Planes in the whole plan (of one time point when endless)."""
        return sum(len(planes) for planes in self.stacks.values())

    @property
    def plane_bytes(self) -> int:
        """Of one plane."""
        return math.prod(self.shape_px) * (1 if self.dtype == "uint8" else 2)


def twin_of(channels: Sequence[str], c: int) -> int | None:
    """Return which of these channels a reference channel shows once more; None for every other channel."""
    name = channels[c] if c < len(channels) else ""
    twin = name.replace(REFERENCE, "", 1)  # a camera's label may follow
    return channels.index(twin) if twin != name and twin in channels else None
