"""Files of microscopes' makers (ND2, CZI, LIF), read by bioio and its plugins: extras ``[formats]``, ``[czi]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from care_live.errors import SourceError
from care_live.images import Counts, Plan, PlaneIndex, read_only
from care_live.recorded.recording import (
    Contents,
    Stamp,
    check_size,
    every_index,
    names_of,
    number_dtype,
    size_um,
    stacks_of,
)


class VendorRecording:
    """One file; each of its scenes is a stage position.

    Parameters
    ----------
    path : of a kind for which a plugin of bioio is installed
    bioio : the module

    Raises
    ------
    SourceError
        Its scenes differ in size, or it holds colour samples or pixels of a type that cannot be read.
    """

    def __init__(self, path: Path, bioio: Any) -> None:
        self._image = bioio.BioImage(path)
        scenes = tuple(map(str, self._image.scenes))
        first = self._size(path, 0)
        for number in range(1, len(scenes)):
            if self._size(path, number) != first:
                raise SourceError(f"{path}: scene {scenes[number]} has another size than {scenes[0]}: convert it first")
        self._image.set_scene(0)
        n = dict(zip("TCZYX", first, strict=True))
        dtype = number_dtype(self._image.dtype, path)
        check_size(path, (n["T"], len(scenes), n["C"], n["Z"], n["Y"], n["X"]), np.dtype(dtype).itemsize)
        order = every_index(n | {"P": len(scenes)})
        um = self._image.physical_pixel_sizes
        plan = Plan(
            stacks=stacks_of(order),
            shape_px=(n["Y"], n["X"]),
            dtype=dtype,
            voxel_size_um=(size_um(um.Z), size_um(um.Y), size_um(um.X)),
            channels=names_of("channel", tuple(map(str, self._image.channel_names or ())), n["C"]),
            positions=names_of("position", scenes, len(scenes)),
        )
        kind = path.suffix.lower().lstrip(".").upper()
        self.contents = Contents(plan, order, {"format": kind, "path": str(path), "axes": "TPCZYX"})

    def read_plane(self, index: PlaneIndex) -> Counts:
        self._image.set_scene(index.p)
        lazily = self._image.get_image_dask_data("YX", T=index.t, C=index.c, Z=index.z)
        plane = np.asarray(lazily.compute(scheduler="synchronous"))
        return read_only(np.ascontiguousarray(plane, plane.dtype.newbyteorder("=")))

    def stamp(self, index: PlaneIndex) -> Stamp:
        return Stamp()

    def close(self) -> None:
        """Do nothing: bioio holds no file open between two planes."""

    def _size(self, path: Path, scene: int) -> tuple[int, ...]:
        self._image.set_scene(scene)
        if "S" in self._image.dims.order:
            raise SourceError(f"{path} holds colour samples (RGB): give one colour, or channels")
        return tuple(int(getattr(self._image.dims, axis)) for axis in "TCZYX")
