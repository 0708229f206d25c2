"""A volume that is still being restored: it grows slab by slab, over the volume before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from care_live.images import VolumeKey, read_only
from care_live.publish.seen import LiveSlab
from care_live.viewer.shown import Product, Shown


class Growing:
    """Restored planes from the first on; every slab gives one more record, and the pixels are shared.

    A plane is written once, before the first record that counts it. A slab that did not come ends the growth: the
    whole volume follows anyway. Owned by the shelf, and locked there.

    Parameters
    ----------
    first : the slab with the first planes
    before : the newest whole volume of the same position and channel, if there is one
    """

    def __init__(self, first: LiveSlab, before: Shown | None) -> None:
        self.key: VolumeKey = first.key
        self.records: list[Shown] = []
        """One for each slab, with more and more planes."""
        arrays = _arrays(first)
        self._whole = {name: np.zeros((first.n_planes, *array.shape[1:]), np.float32) for name, array in arrays.items()}
        self._before = before if _fits(before, self._whole["restored"]) else None
        self.add(first)

    @property
    def n_restored(self) -> int:
        """Planes that are there, from the first on."""
        return self.records[-1].n_restored or 0 if self.records else 0

    def add(self, slab: LiveSlab) -> None:
        """Take one more slab, if it is the next one."""
        arrays, begin = _arrays(slab), slab.z_first
        if begin != self.n_restored or arrays.keys() != self._whole.keys():
            return
        end = begin + len(arrays["restored"])
        if any(array.shape != self._whole[name][begin:end].shape for name, array in arrays.items()):
            return  # of another volume, or beyond its end
        for name, array in arrays.items():
            self._whole[name][begin:end] = array
        self.records.append(self._record(slab, end))

    def _record(self, slab: LiveSlab, n_restored: int) -> Shown:
        return Shown(
            key=self.key,
            restored=read_only(self._whole["restored"]),
            laplace_scale=self._read("laplace_scale"),
            disagreement=self._read("disagreement"),
            voxel_size_um=slab.voxel_size_um,
            state="provisional",
            model=slab.model,
            n_restored=n_restored,
            before=self._before,
        )

    def _read(self, name: Product) -> NDArray[np.float32] | None:
        return read_only(self._whole[name]) if name in self._whole else None


def whole_nbytes(slab: LiveSlab) -> int:
    """Return what the volume of a slab will take: a few bytes on the wire can announce more than there is memory."""
    return sum(array[0].nbytes * slab.n_planes for array in _arrays(slab).values() if len(array))


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


def _arrays(slab: LiveSlab) -> dict[Product, NDArray[np.float32]]:
    given: dict[Product, NDArray[np.float32] | None] = {
        "restored": slab.mean,
        "laplace_scale": slab.laplace_scale,
        "disagreement": slab.disagreement,
    }
    return {name: array for name, array in given.items() if array is not None}


def _fits(before: Shown | None, restored: NDArray[np.float32]) -> bool:
    return before is not None and before.restored is not None and before.restored.shape == restored.shape
