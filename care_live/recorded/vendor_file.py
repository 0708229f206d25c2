"""Files of microscopes' makers (ND2, CZI, LIF), read by bioio and its plugins: extras ``[formats]``, ``[czi]``."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
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

_N_SHOWN = 6
"""Scenes that an error names."""


class VendorRecording:
    """One file; each of its scenes, or the one that is named, is a stage position.

    Parameters
    ----------
    path : of a kind for which a plugin of bioio is installed
    bioio : the module
    scene : the only one to read, by name; empty: all of them

    Raises
    ------
    SourceError
        Its scenes differ in size, there is no such scene, or it holds colour samples or pixels of a type that cannot
        be read.
    """

    def __init__(self, path: Path, bioio: Any, *, scene: str = "") -> None:
        self._image = bioio.BioImage(path)
        everything = tuple(map(str, self._image.scenes))
        if scene and scene not in everything:
            raise SourceError(f"{path} has no scene {scene!r}; it has {_shown(everything)}")
        self._scenes = (everything.index(scene),) if scene else tuple(range(len(everything)))
        scenes = tuple(everything[number] for number in self._scenes)
        first, *others = [self._size(path, number) for number in self._scenes]
        if any(size != first for size in others):
            raise SourceError(
                f"{path} has scenes of several sizes: name one, as in {str(path / scenes[0])!r}; it has "
                + _shown(f"{name} ({_times(size)})" for name, size in zip(scenes, (first, *others), strict=True))
            )
        self._image.set_scene(self._scenes[0])
        n = dict(zip("TCZYX", first, strict=True))
        dtype, pixels = number_dtype(self._image.dtype, path), np.dtype(self._image.dtype).name
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
        self.contents = Contents(plan, order, {"format": kind, "path": str(path), "axes": "TPCZYX"}, pixels)

    def read_plane(self, index: PlaneIndex) -> Counts:
        self._image.set_scene(self._scenes[index.p])
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


def _shown(names: Iterable[str]) -> str:
    """Return the first names of many."""
    first, n_left = list(islice(iterator := iter(names), _N_SHOWN)), sum(1 for _ in iterator)
    return ", ".join(first) + (f" and {n_left} more" if n_left else "")


def _times(size: tuple[int, ...]) -> str:
    return " x ".join(f"{n} {axis}" for axis, n in zip("TCZYX", size, strict=True) if n > 1)
