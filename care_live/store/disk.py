"""Whether the disk suffices: before a run, so that nothing is exposed to light in vain, and during it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.store.fsync import free_bytes, nearest_folder

Space: TypeAlias = Literal["enough", "raw-only", "none"]
"""*raw-only*: less than ``keep_free_mib`` is free, so restored volumes are shed · *none*: less than half of it."""


@dataclass(frozen=True, slots=True)
class Disk:
    """How long the free space lasts."""

    free_bytes: int
    space: Space
    seconds_left: float | None
    """Until restored volumes are shed, at the rate of this session so far; None before the first volume."""


def space_of(free: int, keep_free_mib: int) -> Space:
    """Return what may still be written with the bytes that are free."""
    keep = keep_free_mib * 2**20
    return "enough" if free >= keep else "raw-only" if free >= keep / 2 else "none"


def look(path: Path, keep_free_mib: int, *, bytes_per_s: float) -> Disk:
    """Return how much is free, and how long that lasts at a rate.

    Raises
    ------
    StoreError
        The folder does not exist any more.
    """
    free = free_bytes(path)
    seconds_left = max(0, free - keep_free_mib * 2**20) / bytes_per_s if bytes_per_s else None
    return Disk(free, space_of(free, keep_free_mib), seconds_left)


def too_little(free: int, wanted_mib: float) -> str:
    """Return a message: a disk is too full, by which setting."""
    return f"{free / 2**20:.3g} MiB free, {wanted_mib:.3g} MiB must stay so (store.keep_free_mib)"


def refuse_unfit(config: StoreConfig, run_id: str) -> None:
    """Check whether a run can be written at all; this creates nothing.

    Raises
    ------
    StoreError
        The disk is missing, read-only or too full, or there is a file where the run's folder must be.
    """
    folder = nearest_folder(config.directory / run_id)
    if not folder.is_dir():
        raise StoreError(f"{folder} is a file, but runs go into a folder; choose another store.directory")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"{folder} cannot be written; choose another store.directory")
    free = free_bytes(folder)
    if space_of(free, config.keep_free_mib) == "none":
        little = too_little(free, config.keep_free_mib / 2)
        raise StoreError(f"too little space in {folder}: {little}; free some, or choose another store.directory")
