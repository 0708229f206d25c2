"""What the assembler says of a volume while it is being recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from care_live.images import Frame, PlaneIndex, StateChanged, Volume, VolumeKey


@dataclass(frozen=True, slots=True)
class VolumeOpened:
    """The first plane of a volume came and memory was found for all of it."""

    key: VolumeKey
    planes: tuple[int, ...]
    """Planned z indices, in the order of the volume's planes."""
    shape_px: tuple[int, int]
    dtype: str


@dataclass(frozen=True, slots=True)
class VolumeRefused:
    """A volume for which there was no memory at its first plane: all its planes are skipped and counted."""

    key: VolumeKey
    reason: str


@dataclass(frozen=True, slots=True)
class FrameDropped:
    """A plane that has no place: wrong shape or type, duplicate, late, unplanned; or its volume is stored already."""

    index: PlaneIndex
    reason: Literal[
        "duplicate", "late", "unplanned", "wrong-shape", "wrong-dtype", "wrong-run", "refused-volume", "stored"
    ]
    detail: str


AssemblyEvent: TypeAlias = VolumeOpened | Frame | Volume | VolumeRefused | FrameDropped | StateChanged
"""A `Frame` is in its place in an open volume."""
