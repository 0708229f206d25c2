"""NDTiff, the format of Micro-Manager and pycromanager: a growing index beside TIFF files.

An index entry is ``n, axes as JSON, m, file name, 8 uint32``; entries are appended as images come, the Java
writer pads the file with zeros, and a reader may meet half an entry. So nothing but whole entries counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from care_live.errors import FrameError, SourceError
from care_live.images import Counts, Plan, PlaneIndex, read_only
from care_live.imports import need
from care_live.recorded.recording import Contents, Stamp, counts_dtype, stacks_of
from care_live.recorded.tags import Places, number_of, stamp_of

INDEX_NAME = "NDTiff.index"
_MAX_FIELD_BYTES = 1 << 16
"""No axes and no file name are longer; more is a broken index."""
_TAIL_BYTES = 32
_HEADER_BYTES = 28
_SUMMARY_MAGIC = struct.pack("<I", 2355492)


class Entry(NamedTuple):
    """One image of the index."""

    axes: dict[str, Any]
    where: Any
    """ndstorage's index entry: file, offsets, size, pixel type."""


def entry_bytes(data: bytes | memoryview, start: int) -> int | None:
    """Return the length of the whole entry at *start*; None for padding or an entry that is not all there.

    Raises
    ------
    SourceError
        A length that no entry has: the index is broken.
    """
    end = start
    for _ in range(2):  # axes, then file name
        if len(data) < end + 4:
            return None
        (length,) = struct.unpack_from("<I", data, end)
        if length == 0:
            return None
        if length > _MAX_FIELD_BYTES:
            raise SourceError(f"{INDEX_NAME} has a field of {length} bytes at byte {end}: it is broken")
        end += 4 + length
    end += _TAIL_BYTES
    return end - start if end <= len(data) else None


def entries(data: bytes) -> Iterator[tuple[int, Entry]]:
    """Yield every whole entry and where it ends.

    Raises
    ------
    SourceError
        The index is broken.
    """
    unpack = need("ndstorage.ndtiff_index", extra="mm").NDTiffIndexEntry.unpack_single_index_entry
    start = 0
    while (length := entry_bytes(data, start)) is not None:
        try:
            end, axes, where = unpack(data[start : start + length], 0)
        except (ValueError, struct.error) as error:  # JSON and text errors are ValueErrors
            raise SourceError(f"{INDEX_NAME} has an unreadable entry at byte {start}: {error}") from error
        start += end
        yield start, Entry(axes, where)


class Files:
    """The TIFF files of one data set, opened when the first image of each is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}

    def read_image(self, entry: Entry) -> Counts:
        """Return one image, (y, x).

        Raises
        ------
        SourceError
            RGB, or the file is shorter than its index says.
        """
        reader = self._reader(str(entry.where.filename))
        try:
            image: np.ndarray[Any, Any] = reader.read_image(entry.where)
        except ValueError as error:
            raise SourceError(f"{reader.tiff_path} ends before the image that its index names: {error}") from error
        if image.ndim != 2:
            raise SourceError(f"{reader.tiff_path} holds colour images; wanted one grey channel per image")
        return read_only(image)

    def read_tags(self, entry: Entry) -> dict[str, Any]:
        """Return one image's metadata; empty where it cannot be read."""
        try:
            tags: dict[str, Any] = self._reader(str(entry.where.filename)).read_metadata(entry.where)
        except ValueError:
            return {}
        return tags

    def _reader(self, name: str) -> Any:
        if name not in self._readers:
            self._readers[name] = self._open(self._folder / Path(name).name)
        return self._readers[name]

    def _open(self, path: Path) -> Any:
        open_file = need("ndstorage.ndtiff_file", extra="mm").SingleNDTiffReader
        try:
            with path.open("rb") as file:
                header = file.read(_HEADER_BYTES)
            if header[20:24] != _SUMMARY_MAGIC:  # NDTiff 2: the index alone says where images are
                return open_file(str(path), summary_md={})
            reader = open_file(str(path))
        except (OSError, ValueError) as error:
            raise SourceError(f"cannot open {path}: {error}") from error
        self.summary = self.summary or dict(reader.summary_md)
        return reader

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()


def places_for(summary: dict[str, Any], *, first_z: int = 0) -> Places:
    """Return the numbering that a data set's summary asks for: the GUI names its channels only there."""
    names = summary.get("ChNames")
    return Places(channels=[str(name) for name in names] if isinstance(names, list) else (), first_z=first_z)


def voxel_size_um(summary: dict[str, Any], tags: dict[str, Any]) -> tuple[float, float, float]:
    """Return (z, y, x) in micrometres as far as the metadata says, 1 where it does not."""
    pixel = number_of(tags, "PixelSizeUm", "PixelSize_um") or number_of(summary, "PixelSize_um") or 1.0
    step = number_of(summary, "z-step_um", "z_step_um") or 1.0
    return abs(step), pixel, pixel


class NDTiffRecording:
    """A finished NDTiff data set (versions 2 and 3).

    Raises
    ------
    SourceError
        No images, colour images, or an index that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        folder = data_folder(folder)
        found = [entry for _, entry in entries((folder / INDEX_NAME).read_bytes())]
        if not found:
            raise SourceError(f"{folder} holds no image yet")
        self._files = Files(folder)
        try:
            self._entries = self._placed(found)
            self.contents = self._describe(folder, found[0])
        except SourceError:
            self._files.close()
            raise

    def _placed(self, found: list[Entry]) -> dict[PlaneIndex, Entry]:
        self._files.read_tags(found[0])  # opens the file that has the summary
        first_z = min(0, *(int(entry.axes.get("z", 0)) for entry in found), 0)
        self._places = places_for(self._files.summary, first_z=first_z)
        try:
            return {self._places.index_of(entry.axes): entry for entry in found}
        except FrameError as error:
            raise SourceError(f"NDTiff index: {error}") from error

    def _describe(self, folder: Path, first: Entry) -> Contents:
        image = self._files.read_image(first)
        plan = Plan(
            stacks=stacks_of(self._entries),
            shape_px=(image.shape[0], image.shape[1]),
            dtype=counts_dtype(image.dtype, folder),
            voxel_size_um=voxel_size_um(self._files.summary, self._files.read_tags(first)),
            channels=self._places.channels,
            positions=self._places.positions,
        )
        return Contents(plan, tuple(self._entries), {"format": "NDTiff", "path": str(folder), **self._files.summary})

    def read_plane(self, index: PlaneIndex) -> Counts:
        return self._files.read_image(self._entries[index])

    def stamp(self, index: PlaneIndex) -> Stamp:
        return stamp_of(self._files.read_tags(self._entries[index]))

    def close(self) -> None:
        self._files.close()


def data_folder(folder: Path) -> Path:
    """Return the folder that holds the index: the given one, or the full resolution of a pyramid."""
    for candidate in (folder, folder / "Full resolution"):
        if (candidate / INDEX_NAME).is_file():
            return candidate
    raise SourceError(f"{folder} has no {INDEX_NAME}: not an NDTiff data set")
