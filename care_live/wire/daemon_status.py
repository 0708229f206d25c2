"""What a daemon says of itself every second."""

from __future__ import annotations

from typing import Annotated

import msgspec

from care_live.wire.fields import Count, Finite, Name, Text


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's state; an unknown figure is null."""

    planes_per_s: Finite | None = None
    volumes_per_s: Finite | None = None
    queue_depths: Annotated[dict[Name, Count], msgspec.Meta(max_length=32)] = {}
    planes_lost: Count = 0
    """Never came: the camera or the link lost them."""
    planes_dropped: Count = 0
    """Came, but had no place (late, double, wrong shape)."""
    volumes_skipped: Count = 0
    """Left unrestored on purpose, because restoration lagged."""
    volumes_refused: Count = 0
    """Not taken for want of memory."""
    volumes_restored: Count = 0
    workers: Annotated[tuple[Name, ...], msgspec.Meta(max_length=64)] | msgspec.UnsetType = msgspec.UNSET
    """What each of several inference processes does, in words; absent where one restores."""
    disk_s_left: Finite | None = None
    """Seconds until the disk is full at the present rate."""
    note: Text = ""
    more_runs: bool | msgspec.UnsetType = msgspec.UNSET
    """True where another run may follow each run; absent where the daemon has one."""
