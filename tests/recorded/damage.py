"""Small data sets of every kind, and ways to damage their files."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile
import zarr

from care_live.errors import SourceError
from care_live.images import Counts, PlaneIndex
from care_live.recorded import open_recording
from tests.conftest import need_data
from tests.source.growing import SHAPE_PX, GrowingDataSet

PIXELS = np.random.default_rng(11).integers(1, 60000, (3, 4, 24, 32), np.uint16)  # T Z Y X
"""Noise: no two planes are alike, and nothing is zero."""


class DataSet(NamedTuple):
    """One data set and the file of it that is damaged."""

    path: Path
    axes: str | None
    file: Path


def _tiff(folder: Path, name: str, axes: str | None, **options: object) -> DataSet:
    path = folder / name
    tifffile.imwrite(path, PIXELS, photometric="minisblack", **options)
    return DataSet(path, axes, path)


def plain(folder: Path) -> DataSet:
    return _tiff(folder, "plain.tif", "TZYX")


def imagej(folder: Path) -> DataSet:
    return _tiff(folder, "imagej.tif", None, imagej=True, metadata={"axes": "TZYX"})


def ome(folder: Path) -> DataSet:
    return _tiff(folder, "run.ome.tif", None, metadata={"axes": "TZYX"})


def deflated(folder: Path) -> DataSet:
    return _tiff(folder, "deflated.tif", "TZYX", compression="zlib", rowsperstrip=7)


def pages(folder: Path) -> DataSet:
    """Return a file with a header before each image's pixels, as Micro-Manager writes them."""
    path = folder / "pages.tif"
    with tifffile.TiffWriter(path) as writer:
        for plane in PIXELS.reshape(-1, *PIXELS.shape[-2:]):
            writer.write(plane, photometric="minisblack", contiguous=False, metadata=None)
    return DataSet(path, "TYX", path)


def real_imagej(folder: Path) -> DataSet:
    path = folder / "droplet.tif"
    path.write_bytes(need_data("droplet_4d/ExampleTifSequence.tif").read_bytes())
    return DataSet(path, None, path)


def ndtiff(folder: Path) -> DataSet:
    data_set = GrowingDataSet(folder / "nd")
    for t in range(4):
        data_set.add({"time": t}, PIXELS[0, t].reshape(SHAPE_PX))
    data_set.finish()
    return DataSet(folder / "nd", None, next((folder / "nd").glob("*.tif")))


def ndtiff_index(folder: Path) -> DataSet:
    return ndtiff(folder)._replace(file=folder / "nd" / "NDTiff.index")


def window_ndtiff(folder: Path) -> DataSet:
    shutil.copytree(need_data("micromanager_window/nd_tiff"), folder / "window", copy_function=shutil.copyfile)
    (folder / "window").chmod(0o755)
    return DataSet(folder / "window", None, next((folder / "window").glob("*.tif")))


def window_stack_files(folder: Path) -> DataSet:
    return _window(folder, "image_stack_files")


def window_separate_files(folder: Path) -> DataSet:
    return _window(folder, "separate_image_files")


def _window(folder: Path, name: str) -> DataSet:
    shutil.copytree(need_data("micromanager_window") / name, folder / name, copy_function=shutil.copyfile)
    for path in (folder / name, *(folder / name).rglob("*")):
        path.chmod(0o755)
    return DataSet(folder / name, None, sorted((folder / name).rglob("*.tif"))[0])


def ome_zarr(folder: Path) -> DataSet:
    """Return an image whose chunks Blosc has compressed, as nearly every OME-Zarr's are."""
    path = folder / "image.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    array = group.create_array(
        "0", shape=PIXELS.shape, dtype=PIXELS.dtype, chunks=(1, 2, 24, 32), compressors=zarr.codecs.BloscCodec()
    )
    array[:] = PIXELS
    scale = [{"type": "scale", "scale": [1, 1, 1, 1]}]
    axes = [{"name": "t", "type": "time"}, *({"name": name, "type": "space"} for name in "zyx")]
    multiscales = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    return DataSet(path, None, path / "0" / "c" / "0" / "1" / "0" / "0")


def ome_zarr_header(folder: Path) -> DataSet:
    return ome_zarr(folder)._replace(file=folder / "image.zarr" / "0" / "zarr.json")


EVERY: dict[str, Callable[[Path], DataSet]] = {
    one.__name__: one
    for one in (plain, imagej, ome, deflated, pages, real_imagej, ndtiff, ndtiff_index, window_ndtiff,
                window_stack_files, window_separate_files, ome_zarr, ome_zarr_header)
}  # fmt: skip


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Return a file with some bits, bytes or numbers changed, or its end gone or zero."""
    changed, at = bytearray(data), dice.randrange(len(data))
    if dice.random() < 0.6:
        at = min(at, dice.randrange(1, 1000))  # where headers are
    kind = dice.choice(("bit", "bit", "byte", "number", "zeros", "cut", "empty end"))
    if kind == "bit":
        changed[at] ^= 1 << dice.randrange(8)
    elif kind == "byte":
        changed[at] = dice.randrange(256)
    elif kind == "number":
        changed[at : at + 4] = struct.pack("<I", dice.choice((0, 1, 8, 255, 65536, 1 << 31, (1 << 32) - 1)))
    elif kind == "zeros":
        changed[at : at + 16] = bytes(len(changed[at : at + 16]))
    elif kind == "cut":
        del changed[at:]
    else:
        changed[at:] = bytes(len(changed) - at)
    return bytes(changed)


Planes = dict[PlaneIndex, Counts]


def read(data_set: DataSet) -> Planes:
    recording = open_recording(data_set.path, axes=data_set.axes)
    try:
        for index in recording.contents.order:
            recording.stamp(index)
        return {index: recording.read_plane(index).copy() for index in recording.contents.order}
    finally:
        recording.close()


def refused(data_set: DataSet) -> str:
    """Return the one line that says why a data set cannot be read."""
    with pytest.raises(SourceError) as caught:
        read(data_set)
    assert "\n" not in str(caught.value)
    assert data_set.path.name in str(caught.value)
    return str(caught.value)


def cut(data_set: DataSet, n_bytes: int) -> None:
    data_set.file.write_bytes(data_set.file.read_bytes()[:n_bytes])


def patch(path: Path, start: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def set_tag(path: Path, name: str, value: int) -> None:
    """Overwrite the first value of a tag of the first page."""
    with tifffile.TiffFile(path) as file:
        tag = file.pages.first.tags[name]
        start, width = tag.valueoffset, {3: "<H", 4: "<I"}[tag.dtype]
    patch(path, start, struct.pack(width, value))
