"""Volumes as the assembler closes them, and restored ones; a test names only what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from care_live.images import Counts, Integrity, ModelIdentity, Restored, Volume, VolumeKey, read_only
from care_live.maps import Head

FIRST = VolumeKey(0)


def volume(pixels: Counts, key: VolumeKey = FIRST, *, missing: Iterable[int] = (), **fields: object) -> Volume:
    """Return a closed volume of (z, y, x) counts, complete but for the planes that are *missing*."""
    planes = tuple(range(len(pixels)))
    lost = set(missing)
    values: dict[str, object] = {
        "run_id": "run",
        "voxel_size_um": (1.0, 0.5, 0.5),
        "integrity": Integrity(planes, tuple(z for z in planes if z not in lost)),
        "closed": "complete",
        "state": "confirmed",
        "first_plane_ns": 0,
        "last_plane_ns": 0,
        "acquired_us": 0,
    }
    return Volume(key=key, pixels=read_only(pixels), **(values | fields))


def planes(of: VolumeKey, maps: Mapping[Head, NDArray[np.float32]], z: slice, n_planes: int) -> Restored:
    """Return restored planes of a volume that is still being recorded."""
    return Restored(
        key=of,
        sources=(of,),
        maps=maps,
        voxel_size_um=(2.0, 0.5, 0.5),
        low=0.0,
        high=1.0,
        model=ModelIdentity("tiny", "0" * 64),
        raw=None,
        z=z,
        n_planes=n_planes,
    )


def restored(of: Volume, maps: Mapping[Head, NDArray[np.floating]] | None = None, **fields: object) -> Restored:
    """Return a restored volume; without *maps*, its mean is its own counts."""
    values: dict[str, object] = {
        "voxel_size_um": of.voxel_size_um,
        "low": 0.0,
        "high": 1.0,
        "model": ModelIdentity("tiny", "0" * 64),
        "key": of.key,
        "sources": (of.key,),
    }
    given = {"mean": of.pixels} if maps is None else maps
    own = {head: read_only(array.astype(np.float32)) for head, array in given.items()}
    return Restored(raw=of, maps=own, **(values | fields))
