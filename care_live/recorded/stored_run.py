"""A run of care_live as a recording: the raw volumes that its journal acknowledges, and no others.

Its arrays are as large as its plan. A plane that never came is zero in them, like a dark plane: only the journal tells
which it is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from care_live.checksum import crc32c
from care_live.errors import SourceError
from care_live.images import Counts, PlaneIndex, VolumeKey, read_only
from care_live.recorded.ome_zarr import check_chunk_size, decoded
from care_live.recorded.recording import Contents, Stamp, check_size, number_dtype
from care_live.recorded.run_journal import read_run
from care_live.recorded.run_records import RawStored


class StoredRunRecording:
    """The raw volumes of a run, as far as they are safe.

    Parameters
    ----------
    run : its folder
    position : None: all stage positions

    Raises
    ------
    SourceError
        The journal has no beginning or acknowledges no raw volume, or an array is not what the journal says.
    """

    def __init__(self, run: Path, *, position: int | None = None) -> None:
        self._run = run
        found = read_run(run)
        stored = {key: volume for key, volume in found.stored.items() if position in {None, key.p}}
        if not stored:
            raise SourceError(f"the journal of {run} acknowledges no raw volume: there is nothing to read")
        plan = found.plan
        order = tuple(
            PlaneIndex(key.t, key.p, key.c, z)
            for key in sorted(stored, key=lambda key: (stored[key].acquired_us, key))
            for z in stored[key].integrity.received
        )
        number_dtype(plan.dtype, run)
        check_size(run, (len(order), *plan.shape_px), np.dtype(plan.dtype).itemsize)
        stacks = {key: planes for key, planes in plan.stacks.items() if position in {None, key.p}}
        self._stored = stored
        self._arrays: dict[int, Any] = {}
        self._last: tuple[VolumeKey, np.ndarray[Any, Any]] | None = None
        self._is_plate = found.plate is not None
        summary: dict[str, Any] = {"format": "care_live run", "path": str(run), "axes": "TCZYX"}
        summary |= {"plate": found.plate} if self._is_plate else {}
        self.contents = Contents(replace(plan, stacks=stacks), order, summary)

    def read_plane(self, index: PlaneIndex) -> Counts:
        volume = self._volume(index)
        if self._last is None or self._last[0] != volume.key:
            self._last = volume.key, self._read(volume)
        return read_only(self._last[1][volume.integrity.expected.index(index.z)])

    def stamp(self, index: PlaneIndex) -> Stamp:
        volume = self._volume(index)
        return Stamp(elapsed_us=volume.acquired_us, exposure_ms=volume.exposure_ms)

    def close(self) -> None:
        self._last = None
        self._arrays = {}

    def _volume(self, index: PlaneIndex) -> RawStored:
        volume = self._stored.get(index.volume)
        if volume is None or index.z not in volume.integrity.received:
            raise SourceError("the run's journal does not acknowledge it")
        return volume

    def _read(self, volume: RawStored) -> np.ndarray[Any, Any]:
        """Return a whole volume, (z, y, x), whose checksum is right; Zarr reads a lost file as zeros."""
        t, p, c = volume.key
        region = [(t, t + 1), (c, c + 1), (0, len(volume.integrity.expected))]
        pixels = np.ascontiguousarray(decoded(self._array(p), region)[0, 0])
        if crc32c(pixels) != volume.array.crc32c:
            raise SourceError(f"its volume is not what was stored: run `care-live verify {self._run}`")
        return pixels

    def _array(self, p: int) -> Any:
        if p not in self._arrays:
            names = self.contents.plan.positions
            of_plate = self._run / "raw" / (names[p] if self._is_plate and p < len(names) else str(p)) / "0"
            array = zarr.open_array(of_plate, mode="r")
            check_chunk_size(self._run, array)
            self._arrays[p] = array
        return self._arrays[p]
