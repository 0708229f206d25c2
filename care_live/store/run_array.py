"""One image of a run as an array that is read volume by volume: what array viewers (ndv, napari) and numpy take."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from care_live.images import Plan, VolumeKey
from care_live.maps import level_of
from care_live.recorded.run_records import RawStored, RestoredStored, RunEndNoted, StoredArray, StoredProduct

AxisIndex: TypeAlias = int | slice
_N_KEPT = 4
"""Volumes in memory: a viewer asks for one plane after the other."""


class ReadsVolumes(Protocol):
    """What is read: a `RunReader`."""

    @property
    def plan(self) -> Plan: ...

    @property
    def voxel_size_um(self) -> tuple[float, float, float]: ...

    @property
    def ended(self) -> RunEndNoted | None: ...

    def refresh(self) -> None: ...

    def keys(self, product: StoredProduct) -> list[VolumeKey]: ...

    def has(self, product: StoredProduct, key: VolumeKey) -> bool: ...

    def read(self, product: StoredProduct, key: VolumeKey) -> NDArray[Any]: ...

    def acquisition(self, key: VolumeKey) -> RawStored: ...

    def restoration(self, key: VolumeKey) -> RestoredStored: ...


class RunArray:
    """All volumes of one product at one stage position, (t, c, z, y, x); safe to use from every thread of a viewer.

    A volume that is not there is zero, or NaN where pixels are floating-point numbers. Of a run that is still being
    written it grows with `refresh`.

    Parameters
    ----------
    reader : the run; used by this array only, or in one thread
    product : such as ``"raw"`` or ``"restored"``
    p : stage position
    """

    dims = ("t", "c", "z", "y", "x")
    """Names of the axes, which viewers show at their sliders."""

    def __init__(self, reader: ReadsVolumes, product: StoredProduct, p: int) -> None:
        self._reader, self._product, self._p = reader, product, p
        self._guard = threading.RLock()  # a viewer reads in threads of its own, while it draws
        self._kept: OrderedDict[VolumeKey, tuple[StoredArray, NDArray[Any]]] = OrderedDict()
        """As it was stored when it was read: a volume may be restored anew."""

    def refresh(self) -> bool:
        """Read what the run has got since; return whether volumes of this array have come, or changed.

        Raises
        ------
        StoreError
            Its journal cannot be read.
        """
        with self._guard:
            before = [self._stored(key) for key in self._keys()]
            self._reader.refresh()
            return before != [self._stored(key) for key in self._keys()]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, as many as there are by now."""
        names = self._reader.plan.channels
        return tuple(names[c] if c < len(names) else str(c) for c in range(self.shape[1]))

    @property
    def voxel_size_um(self) -> tuple[float, float, float]:
        """(z, y, x), micrometres; in z a restored volume may differ from raw ones, in y and x a map may be coarser."""
        with self._guard:
            keys = self._keys()
            if self._product == "raw" or not keys:
                return self._reader.voxel_size_um
            made = self._reader.restoration(keys[0])
            whole = made.arrays.get("restored", made.arrays[self._product])
            side = 2 ** (level_of(made.arrays[self._product].shape, whole.shape) or 0)
            z_um, y_um, x_um = made.voxel_size_um
            return z_um, y_um * side, x_um * side

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, c, z, y, x) of what is stored by now; zeros where nothing is."""
        with self._guard:
            return self._shape(self._keys())

    def _shape(self, keys: list[VolumeKey]) -> tuple[int, ...]:
        if not keys:
            return (0, 0, 0, 0, 0)
        depth = max(self._stored(key).shape[0] for key in keys)
        return (keys[-1].t + 1, max(key.c for key in keys) + 1, depth, *self._stored(keys[0]).shape[1:])

    @property
    def is_growing(self) -> bool:
        """Whether the run has not ended: it is being written, or its daemon was killed."""
        with self._guard:
            return self._reader.ended is None

    @property
    def ndim(self) -> int:
        return len(self.dims)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its pixels."""
        with self._guard:
            keys = self._keys()
            return np.dtype(self._stored(keys[0]).dtype if keys else np.float32)

    def __getitem__(self, index: AxisIndex | tuple[AxisIndex, ...]) -> NDArray[Any]:
        """Return a part, as of an array of numpy with whole numbers and slices; its volumes are read.

        Raises
        ------
        StoreError
            The pixels of a volume do not match their checksum.
        """
        with self._guard:
            return self._part(index)

    def _part(self, index: AxisIndex | tuple[AxisIndex, ...]) -> NDArray[Any]:
        given = index if isinstance(index, tuple) else (index,)
        full: tuple[AxisIndex, ...] = (*given, *(slice(None),) * (self.ndim - len(given)))
        inside = full[2:]
        shape = self.shape
        every_t, every_c = np.asarray(np.arange(shape[0])[full[0]]), np.asarray(np.arange(shape[1])[full[1]])
        dtype = self.dtype
        blank = np.broadcast_to(np.asarray(np.nan if dtype.kind == "f" else 0, dtype), shape[2:])  # takes no memory
        part = [[self._volume(int(t), int(c), blank)[inside] for c in every_c.flat] for t in every_t.flat]
        found = np.asarray(part, blank.dtype) if every_t.size and every_c.size else np.empty(0, blank.dtype)
        like = np.empty(shape[2:], np.bool_)[inside] if not found.size else found[0, 0]
        return found.reshape(*every_t.shape, *every_c.shape, *like.shape)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def _volume(self, t: int, c: int, blank: NDArray[Any]) -> NDArray[Any]:
        """Return a volume, as deep as `blank`, which stands for one that is not there."""
        key = VolumeKey(t, self._p, c)
        if not self._reader.has(self._product, key):
            return blank
        stored, (kept, pixels) = self._stored(key), self._kept.get(key, (None, blank))
        if kept == stored and pixels.shape == blank.shape:  # another volume may have come since that is deeper
            self._kept.move_to_end(key)
            return pixels
        pixels = read = self._reader.read(self._product, key)
        if read.shape != blank.shape:
            pixels = blank.copy()
            pixels[: len(read)] = read
        self._kept[key] = stored, pixels
        self._kept.move_to_end(key)
        while len(self._kept) > _N_KEPT:
            self._kept.popitem(last=False)
        return pixels

    def _keys(self) -> list[VolumeKey]:
        return [key for key in self._reader.keys(self._product) if key.p == self._p]

    def _stored(self, key: VolumeKey) -> StoredArray:
        if self._product == "raw":
            return self._reader.acquisition(key).array
        return self._reader.restoration(key).arrays[self._product]
