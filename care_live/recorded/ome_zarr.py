"""OME-Zarr 0.4 and 0.5: one image, a plate, or a folder of positions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from care_live.errors import SourceError
from care_live.images import Counts, Plan, PlaneIndex, read_only
from care_live.recorded.blosc_chunks import check_chunks
from care_live.recorded.ome_xml import UNITS_S, UNITS_UM
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

_MAX_SLAB_BYTES = 1 << 30


class OmeZarrRecording:
    """The full resolution of an OME-Zarr; the images of a plate or a folder are its stage positions.

    Raises
    ------
    SourceError
        No group with ``multiscales``, axes that are not of ``tczyx``, or images of different shapes.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        try:
            root = zarr.open_group(path, mode="r")
        except (FileNotFoundError, KeyError, ValueError) as error:
            raise SourceError(f"{path} cannot be read as OME-Zarr: {error}") from error
        images = list(_images(root))
        if not images:
            raise SourceError(f"{path} has no multiscales metadata: not an OME-Zarr image, plate or collection")
        self._plate = _plate(root)
        self._positions = tuple(name for name, _ in images)
        self._headers = [_multiscales(group)[0] for _, group in images]
        self._arrays = [_full_resolution(group) for _, group in images]
        self._axes = _axes(path, self._headers[0])
        self._slab: tuple[tuple[int, ...], np.ndarray[Any, Any]] | None = None
        self.contents = self._describe(dict(_ome(images[0][1])))

    def _describe(self, ome: dict[str, Any]) -> Contents:
        shapes = {array.shape for array in self._arrays}
        if len(shapes) != 1:
            raise SourceError(f"{self._path} has images of different shapes {sorted(shapes)}: replay them one by one")
        shape = self._arrays[0].shape
        check_size(self._path, (len(self._arrays), *shape), self._arrays[0].dtype.itemsize)
        for array in self._arrays:
            check_chunk_size(self._path, array)
        n = {**dict(zip(self._axes.upper(), shape, strict=True)), "P": len(self._arrays)}
        order = every_index(n)
        steps = self._steps()
        plan = Plan(
            stacks=stacks_of(order),
            shape_px=(shape[-2], shape[-1]),
            dtype=number_dtype(self._arrays[0].dtype, self._path),
            voxel_size_um=(size_um(steps.get("z")), size_um(steps.get("y")), size_um(steps.get("x"))),
            channels=_channels(ome, n.get("C", 1)),
            positions=self._positions,
            interval_s=_interval_s(steps.get("t", 0.0)),
        )
        summary: dict[str, Any] = {"format": "OME-Zarr", "path": str(self._path), "axes": self._axes.upper()}
        summary |= {"plate": self._plate} if self._plate else {}
        return Contents(plan, order, summary, self._arrays[0].dtype.name)

    def _steps(self) -> dict[str, float]:
        """Return each axis' step: micrometres in space, seconds in time where a unit is named."""
        sizes = _scales(self._headers[0], len(self._axes))
        steps = {}
        for axis, size in zip(self._headers[0]["axes"], sizes, strict=True):
            name, unit = axis["name"], str(axis.get("unit", ""))
            if name == "t":
                steps[name] = size * UNITS_S[unit] if unit in UNITS_S else 0.0
            else:
                steps[name] = size * UNITS_UM.get(unit, 1.0)
        return steps

    def read_plane(self, index: PlaneIndex) -> Counts:
        array = self._arrays[index.p]
        place = {"t": index.t, "c": index.c, "z": index.z}
        steps = tuple(place[axis] for axis in self._axes[:-2])
        if not steps or self._axes[-3] != "z":
            return read_only(decoded(array, [(step, step + 1) for step in steps]).reshape(array.shape[-2:]))
        depth = _slab_depth(array)
        first = index.z - index.z % depth
        where = (index.p, *steps[:-1], first)
        if self._slab is None or self._slab[0] != where:  # a chunk is decoded once, not once a plane
            region = [*((step, step + 1) for step in steps[:-1]), (first, min(first + depth, array.shape[-3]))]
            self._slab = where, decoded(array, region).reshape(-1, *array.shape[-2:])
        return read_only(self._slab[1][index.z - first])

    def stamp(self, index: PlaneIndex) -> Stamp:
        interval = self.contents.plan.interval_s
        return Stamp(elapsed_us=round(index.t * interval * 1e6)) if interval else Stamp()

    def close(self) -> None:
        self._slab = None
        self._arrays = []


def check_chunk_size(where: object, array: Any) -> None:
    """Raise a SourceError for chunks that are too large: each is decoded whole."""
    chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
    if chunk_bytes > _MAX_SLAB_BYTES:
        raise SourceError(f"{where} has chunks of {chunk_bytes} bytes; wanted at most {_MAX_SLAB_BYTES}")


def decoded(array: Any, region: list[tuple[int, int]]) -> np.ndarray[Any, Any]:
    """Return whole planes of an array, whose chunks are all sound."""
    whole = [*region, *((0, n) for n in array.shape[-2:])]
    check_chunks(array, whole)
    return np.asarray(array[tuple(slice(*bounds) for bounds in whole)])


def _slab_depth(array: Any) -> int:
    """Return how many planes to decode at once: those of a chunk, one where a chunk is very deep."""
    depth = int(array.chunks[-3])
    slab_bytes = min(depth, array.shape[-3]) * array.shape[-2] * array.shape[-1] * array.dtype.itemsize
    return depth if slab_bytes <= _MAX_SLAB_BYTES else 1


def _interval_s(step: float) -> float:
    return step if step > 0 and math.isfinite(step) else 0.0


def _ome(group: zarr.Group) -> Mapping[str, Any]:
    """Return the OME metadata of a group: 0.5 has it under ``ome``, 0.4 at the top."""
    attributes = dict(group.attrs)
    inner = attributes.get("ome")
    return inner if isinstance(inner, dict) else attributes


def _multiscales(group: zarr.Group) -> list[dict[str, Any]]:
    found = _ome(group).get("multiscales")
    return found if isinstance(found, list) else []


def _images(root: zarr.Group) -> Iterator[tuple[str, zarr.Group]]:
    """Yield every image: the group itself, a plate's fields, ``raw`` of a run, or all children."""
    if _multiscales(root):
        yield "default", root
        return
    if plate := _ome(root).get("plate"):
        for well in plate["wells"]:
            for field in _ome(_group(root, well["path"]))["well"]["images"]:
                path = f"{well['path']}/{field['path']}"
                yield path, _group(root, path)
        return
    names = sorted(root.group_keys(), key=lambda name: (not name.isdecimal(), name.zfill(12)))
    if "raw" in names:
        yield from _images(_group(root, "raw"))
        return
    yield from ((name, _group(root, name)) for name in names if _multiscales(_group(root, name)))


def _plate(root: zarr.Group) -> dict[str, Any]:
    """Return what a plate says of itself, and of which acquisition each of its fields is; empty: it is no plate."""
    plate = _ome(root).get("plate")
    if _multiscales(root) or not plate:
        return {}
    said = {key: plate[key] for key in ("name", "rows", "columns", "acquisitions") if key in plate}
    acquisitions = {
        f"{well['path']}/{field['path']}": field["acquisition"]
        for well in plate["wells"]
        for field in _ome(_group(root, well["path"]))["well"]["images"]
        if isinstance(field.get("acquisition"), int)
    }
    return said | {"acquisition_of": acquisitions}


def _group(root: zarr.Group, path: str) -> zarr.Group:
    child = root[path]
    if not isinstance(child, zarr.Group):
        raise SourceError(f"{root.store_path}/{path} is an array; wanted a group")
    return child


def _full_resolution(group: zarr.Group) -> Any:
    return group[str(_multiscales(group)[0]["datasets"][0]["path"])]


def _axes(path: Path | str, header: dict[str, Any]) -> str:
    axes = "".join(str(axis["name"]) for axis in header.get("axes", ()))
    if axes not in ("yx", "zyx", "cyx", "tyx", "czyx", "tzyx", "tcyx", "tczyx"):
        raise SourceError(f"{path} has axes {axes!r}; wanted a subset of tczyx in that order")
    return axes


def _scales(header: dict[str, Any], n: int) -> list[float]:
    """Return the product of the full resolution's and the whole image's coordinate steps."""
    product = np.ones(n)
    for transform in (*header["datasets"][0].get("coordinateTransformations", ()),
                      *header.get("coordinateTransformations", ())):  # fmt: skip
        if transform.get("type") == "scale":
            product *= np.asarray(transform["scale"], float)
    return [float(step) for step in product]


def _channels(ome: dict[str, Any], n: int) -> tuple[str, ...]:
    given = [str(channel.get("label", "")) for channel in ome.get("omero", {}).get("channels", ())]
    return names_of("channel", given, n)
