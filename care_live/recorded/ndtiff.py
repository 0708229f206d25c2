"""NDTiff, the format of Micro-Manager and pycromanager: a growing index beside TIFF files.

Of every image the file holds a TIFF header, the pixels, the metadata, in this order and without a gap, written in
this order; only then the index gets the image's entry. Micro-Manager makes the file 4 GiB long before it writes the
first image, so its length proves nothing: an image is whole when its header and its metadata are there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from care_live.errors import FrameError, SourceError
from care_live.images import Counts, Plan, PlaneIndex, read_only
from care_live.recorded.ndtiff_index import INDEX_NAME, ImageEntry, entries, json_object
from care_live.recorded.ndtiff_unindexed import N_TAGS, refuse_unindexed
from care_live.recorded.recording import Contents, Stamp, number_dtype, stacks_of
from care_live.recorded.tags import Places, number_of, stamp_of
from care_live.recorded.unbuffered import UnbufferedFile

logger = logging.getLogger(__name__)

_MAX_BYTES = 1 << 29
"""No camera has more pixels, no image more metadata."""
_HEADER_BYTES = 28
_SUMMARY_MAGIC = 2355492
_RGB = 2
_DTYPES: dict[int, np.dtype[Any]] = {0: np.dtype(np.uint8), **dict.fromkeys((1, 3, 4, 5, 6), np.dtype("<u2"))}
"""By the index's pixel type: 8 bits; 16, 10, 12, 14, 11 bits."""
_TAGS_BYTES = 2 + 12 * N_TAGS + 4
_RESOLUTION_BYTES = 16
"""They lie between the header's tags and the pixels."""
_NAMED_CHARACTERS = 200
_WIDTH, _HEIGHT, _PIXELS_AT, _PIXEL_BYTES, _METADATA = 256, 257, 273, 279, 51123


class Files:
    """The TIFF files of one data set; the one that was read last is open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = ""
        self._file: UnbufferedFile | None = None
        self.summary: dict[str, Any] = {}

    def read(self, entry: ImageEntry) -> tuple[Counts, dict[str, Any]]:
        """Return one image, (y, x), and its metadata.

        The header before the pixels and the metadata behind them are read first: they are there only when
        everything between them is.

        Raises
        ------
        SourceError
            The image is not whole, or it is in colour.
        """
        dtype = _dtype(entry)
        try:
            file = self._opened(entry.file_name)
            _check_header(file, entry, entry.width_px * entry.height_px * dtype.itemsize)
            tags = _tags(file, entry)
            pixels = file.read(entry.pixels_at, entry.width_px * entry.height_px * dtype.itemsize)
        except SourceError:
            self.close()  # the next attempt opens it again: a network file may be kept by this machine as it was
            raise
        native = pixels.view(dtype).astype(dtype.newbyteorder("="), copy=False)
        return read_only(native.reshape(entry.height_px, entry.width_px)), tags

    def read_tags(self, entry: ImageEntry) -> dict[str, Any]:
        """Return one image's metadata.

        Raises
        ------
        SourceError
            It cannot be read.
        """
        return _tags(self._opened(entry.file_name), entry)

    def _opened(self, name: str) -> UnbufferedFile:
        if self._file is None or name != self._name:
            self.close()
            file = UnbufferedFile(self._folder / Path(name).name)
            try:
                self.summary = self.summary or _summary(file)
            except SourceError:
                file.close()
                raise
            self._file, self._name = file, name
        return self._file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


def _dtype(entry: ImageEntry) -> np.dtype[Any]:
    if entry.pixel_type == _RGB:
        raise SourceError(f"{entry.file_name} holds colour images; wanted one grey channel per image")
    if not entry.width_px or not entry.height_px:
        raise SourceError(f"{INDEX_NAME} has an image of {entry.height_px} x {entry.width_px} px at {entry.index_at}")
    if max(entry.width_px * entry.height_px, entry.tags_bytes) > _MAX_BYTES:
        raise SourceError(f"{INDEX_NAME} has an image of {entry.height_px} x {entry.width_px} px: it is damaged")
    if entry.pixel_type not in _DTYPES:
        raise SourceError(f"{INDEX_NAME} has pixel type {entry.pixel_type} at byte {entry.index_at}; wanted 0 to 6")
    return _DTYPES[entry.pixel_type]


def _check_header(file: UnbufferedFile, entry: ImageEntry, n_bytes: int) -> None:
    """Compare the TIFF header right before the pixels with the index.

    Raises
    ------
    SourceError
        They differ: the header is not written yet, or one of the two is damaged.
    """
    start = entry.pixels_at - _RESOLUTION_BYTES - _TAGS_BYTES
    header = file.read(start, _TAGS_BYTES).tobytes() if start >= 0 else bytes(_TAGS_BYTES)
    tags = {tag: (count, value) for tag, _, count, value in struct.iter_unpack("<HHII", header[2:-4])}
    wanted = {
        _WIDTH: (1, entry.width_px),
        _HEIGHT: (1, entry.height_px),
        _PIXELS_AT: (1, entry.pixels_at),
        _PIXEL_BYTES: (1, n_bytes),
        _METADATA: (entry.tags_bytes, entry.tags_at),
    }
    if any(tags.get(tag) != value for tag, value in wanted.items()):
        raise SourceError(f"{file.path} has another TIFF header than its index says for {_named(entry)}: not whole")
    if entry.tags_at < entry.pixels_at + n_bytes:
        raise SourceError(f"{file.path} has metadata inside the pixels of {_named(entry)}: it is damaged")


def _tags(file: UnbufferedFile, entry: ImageEntry) -> dict[str, Any]:
    data = file.read(entry.tags_at, entry.tags_bytes).tobytes()
    return json_object(data, f"{file.path}: the metadata of {_named(entry)}")


def _named(entry: ImageEntry) -> str:
    return f"image {json.dumps(entry.axes)[:_NAMED_CHARACTERS]}"


def _summary(file: UnbufferedFile) -> dict[str, Any]:
    """Return the file's summary of the data set; NDTiff 2 has none."""
    header = file.read(0, _HEADER_BYTES).tobytes()
    if header[:2] != b"II":
        raise SourceError(f"{file.path} begins with {header[:2]!r}; wanted a little-endian TIFF file, b'II'")
    magic, n_bytes = struct.unpack_from("<II", header, 20)
    if magic != _SUMMARY_MAGIC:
        return {}
    if n_bytes > _MAX_BYTES:
        raise SourceError(f"{file.path} has a summary of {n_bytes} bytes: it is damaged")
    return json_object(file.read(_HEADER_BYTES, n_bytes).tobytes(), f"{file.path}: the summary")


def places_for(summary: dict[str, Any], *, first_z: int = 0) -> Places:
    """Return the numbering that a data set's summary defines: the GUI writes names of channels and positions there."""
    stage = summary.get("StagePositions")
    labels = [one.get("Label") if isinstance(one, dict) else None for one in stage] if isinstance(stage, list) else []
    return Places(channels=_names(summary.get("ChNames")), positions=_names(labels), first_z=first_z)


def _names(given: object) -> list[str]:
    """Return names that can number an axis; empty where one is missing or comes twice."""
    names = [str(name) for name in given if name] if isinstance(given, list) else []
    return names if isinstance(given, list) and len(set(names)) == len(given) else []


def voxel_size_um(summary: dict[str, Any], tags: dict[str, Any]) -> tuple[float, float, float]:
    """Return (z, y, x) in micrometres from the metadata, 1 where it has none."""
    pixel = number_of(tags, "PixelSizeUm", "PixelSize_um") or number_of(summary, "PixelSize_um") or 1.0
    step = number_of(summary, "z-step_um", "z_step_um") or 1.0
    return abs(step), abs(pixel), abs(pixel)


class NDTiffRecording:
    """A finished NDTiff data set (versions 2 and 3).

    Raises
    ------
    SourceError
        No images, colour images, or an index that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        folder = data_folder(folder)
        found = [entry for _, entry in entries(_index(folder / INDEX_NAME))]
        if not found:
            raise SourceError(f"{folder} holds no image yet")
        self._files = Files(folder)
        self._has_own_axes = not folder.name.startswith("Downsampled")
        """The smaller copies of a pyramid keep the metadata of one of the images that they are made of."""
        try:
            refuse_unindexed(folder, found)
            image, tags = self._files.read(found[0])
            self._entries = self._placed(found)
            self.contents = self._describe(folder, image, tags)
        except SourceError:
            self._files.close()
            raise

    def _placed(self, found: list[ImageEntry]) -> dict[PlaneIndex, ImageEntry]:
        heights = [number_of(entry.axes, "z") or 0.0 for entry in found]
        self._places = places_for(self._files.summary, first_z=min(0, math.floor(min(heights))))
        try:
            placed = {self._places.index_of(entry.axes): entry for entry in found}
        except FrameError as error:
            raise SourceError(f"{INDEX_NAME}: {error}") from error
        if len(placed) < len(found):
            logger.warning("planes written twice n=%d: the later one counts", len(found) - len(placed))
        return placed

    def _describe(self, folder: Path, image: Counts, tags: dict[str, Any]) -> Contents:
        plan = Plan(
            stacks=stacks_of(self._entries),
            shape_px=(image.shape[0], image.shape[1]),
            dtype=number_dtype(image.dtype, folder),
            voxel_size_um=voxel_size_um(self._files.summary, tags),
            channels=self._places.channels,
            positions=self._places.positions,
        )
        return Contents(plan, tuple(self._entries), {"format": "NDTiff", "path": str(folder), **self._files.summary})

    def read_plane(self, index: PlaneIndex) -> Counts:
        entry = self._entries[index]
        pixels, tags = self._files.read(entry)
        says = tags.get("Axes", entry.axes)
        if says != entry.axes and self._has_own_axes:
            raise SourceError(f"its metadata says {json.dumps(says)[:_NAMED_CHARACTERS]}, the index {_named(entry)}")
        return pixels

    def stamp(self, index: PlaneIndex) -> Stamp:
        return stamp_of(self._files.read_tags(self._entries[index]))

    def close(self) -> None:
        self._files.close()


def _index(path: Path) -> bytes:
    with contextlib.closing(UnbufferedFile(path)) as file:
        if file.n_bytes > _MAX_BYTES:
            raise SourceError(f"{path} has {file.n_bytes} bytes; wanted at most {_MAX_BYTES}: it is damaged")
        return file.read(0, file.n_bytes).tobytes()


def data_folder(folder: Path) -> Path:
    """Return the folder that holds the index: the given one, or the full resolution of a pyramid."""
    for candidate in (folder, folder / "Full resolution"):
        if (candidate / INDEX_NAME).is_file():
            return candidate
    raise SourceError(f"{folder} has no {INDEX_NAME}: not an NDTiff data set")
