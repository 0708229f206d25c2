"""A volume that is still being restored: it grows slab by slab, over the volume before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from care_live.images import Restored, VolumeKey, read_only
from care_live.maps import Array
from care_live.viewer.shown import Shown


class Growing:
    """Restored planes from the first on; every slab gives one more record, and the pixels are shared.

    A plane is written once, before the first record that counts it. A slab that did not come ends the growth: the
    whole volume follows anyway. The live cache owns it and holds its lock.

    Parameters
    ----------
    first : the slab with the first planes
    before : the newest whole volume of the same position and channel, if there is one
    """

    def __init__(self, first: Restored, before: Shown | None) -> None:
        self.key: VolumeKey = first.key
        self.records: list[Shown] = []
        """One for each slab, with more and more planes."""
        self._whole = {
            head: np.zeros((first.n_planes, *array.shape[1:]), np.float32) for head, array in first.maps.items()
        }
        self._before = before if _fits(before, self._whole["mean"]) else None
        self.add(first)

    @property
    def n_restored(self) -> int:
        """Planes that are there, from the first on."""
        return self.records[-1].n_restored or 0 if self.records else 0

    def add(self, slab: Restored) -> None:
        """Take one more slab, if it is the next one."""
        begin = slab.z.start if slab.z is not None else 0
        if begin != self.n_restored or slab.maps.keys() != self._whole.keys():
            return
        end = begin + len(slab.maps["mean"])
        if any(array.shape != self._whole[head][begin:end].shape for head, array in slab.maps.items()):
            return  # of another volume, or beyond its end
        for head, array in slab.maps.items():
            self._whole[head][begin:end] = array
        self.records.append(self._record(slab, end))

    def _record(self, slab: Restored, n_restored: int) -> Shown:
        return Shown(
            key=self.key,
            maps={head: read_only(array) for head, array in self._whole.items()},
            voxel_size_um=slab.voxel_size_um,
            state="provisional",
            model=slab.model,
            n_restored=n_restored,
            before=self._before,
        )


def begins_volume(slab: Restored) -> bool:
    """Return whether these are the first planes of a volume."""
    return slab.z is not None and slab.z.start == 0 and "mean" in slab.maps


def whole_nbytes(slab: Restored) -> int:
    """Return what the volume of a slab will take: a few bytes on the wire can announce more than there is memory."""
    return sum(array[0].nbytes * slab.n_planes for array in slab.maps.values() if len(array))


def first_with(records: Sequence[Shown], z: int | None) -> Shown | None:
    """Return the first record in which a plane is restored, so that a plane on the screen is drawn once.

    Parameters
    ----------
    records : of one volume, with more and more planes
    z : plane; None: the middle one
    """
    n_planes = records[-1].shape[0]
    plane = n_planes // 2 if z is None else min(z, n_planes - 1)
    return next((shown for shown in records if shown.n_restored is None or shown.n_restored > plane), None)


def _fits(before: Shown | None, mean: Array) -> bool:
    return before is not None and "mean" in before.maps and before.maps["mean"].shape == mean.shape
