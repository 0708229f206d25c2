"""What became of the planes: planned against received, lost apart from skipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AssemblyCounts:
    """The run so far. At its end ``planned == received + lost + skipped + unacquired``."""

    planned: int = 0
    """Planes of the plan that no earlier session stored; without a plan, or an end, of the volumes that have begun."""
    received: int = 0
    """Planes in place."""
    lost: int = 0
    """Planned planes that never came, of volumes that are closed."""
    skipped: int = 0
    """Planes that came and that we refused for want of memory, here or in the tap."""
    unacquired: int = 0
    """Planes of volumes that had not begun when the run was cut short."""
    dropped: Mapping[str, int] | None = None
    """Frames without a place, by reason (see `FrameDropped`)."""
    already_stored: int = 0
    """Volumes that came again although an earlier session of the run had stored them."""
    volumes: int = 0
    """Closed volumes, complete or not."""
    incomplete_volumes: int = 0
    refused_volumes: int = 0
    suspect_volumes: int = 0
    provisional_volumes: int = 0
    open_volumes: int = 0
    open_bytes: int = 0
