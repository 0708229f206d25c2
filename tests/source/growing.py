"""Writes an NDTiff data set part by part, as Micro-Manager's Java does or in any other order."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Literal

import numpy as np

from care_live.recorded.ndtiff_index import INDEX_NAME

Part = Literal["header", "first half", "second half", "metadata", "entry"]
JAVA: tuple[Part, ...] = ("header", "first half", "second half", "metadata", "entry")
SHAPE_PX = (24, 32)
_FILE_BYTES = 1 << 20
_N_TAGS = 13


class GrowingDataSet:
    """A data set whose files are as long as they may ever get, and zero, before the first image comes."""

    def __init__(
        self,
        folder: Path,
        *,
        index_bytes: int = 1 << 14,
        characters: str = "utf-8",
        prefix: str = "run",
        **summary: object,
    ) -> None:
        folder.mkdir(parents=True)
        self._name, self._characters = f"{prefix}_NDTiffStack.tif", characters
        self._index, self._file = folder / INDEX_NAME, folder / self._name
        self._write_beginning(json.dumps(summary).encode(), index_bytes)
        self._index_end = 0
        self._parts: dict[Part, tuple[Path, int, bytes]] = {}

    def _write_beginning(self, summary: bytes, index_bytes: int) -> None:
        head = struct.pack("<2sHI5I", b"II", 42, 28 + len(summary), 483729, 3, 3, 2355492, len(summary))
        self._file.write_bytes(head + summary)
        self._index.write_bytes(b"")
        for path, n_bytes in ((self._file, _FILE_BYTES), (self._index, index_bytes)):
            with path.open("r+b") as file:
                file.truncate(n_bytes)
        self._end = len(head) + len(summary)

    def add(self, axes: dict[str, int | str], pixels: np.ndarray) -> None:
        """Write one image as Micro-Manager does."""
        self.begin(axes, pixels)
        for part in JAVA:
            self.write(part)

    def begin(self, axes: dict[str, int | str], pixels: np.ndarray) -> None:
        """Lay out the next image; nothing of it is written yet."""
        tags = json.dumps({"Exposure": 5.0, "Axes": axes, "filler": "x" * 40}).encode()
        header_at = self._end + self._end % 2
        pixels_at = header_at + 2 + 12 * _N_TAGS + 4 + 16
        tags_at = pixels_at + pixels.nbytes
        self._end = tags_at + len(tags)
        data, half = pixels.astype("<u2").tobytes(), pixels.nbytes // 2
        where = (pixels_at, pixels.shape[1], pixels.shape[0], 1, 0, tags_at, len(tags), 0)
        named = json.dumps(axes, ensure_ascii=False).encode(self._characters)
        name = self._name.encode(self._characters)
        entry = struct.pack("<I", len(named)) + named + struct.pack("<I", len(name)) + name
        self._parts = {
            "header": (self._file, header_at, _header(pixels, pixels_at, tags_at, len(tags))),
            "first half": (self._file, pixels_at, data[:half]),
            "second half": (self._file, pixels_at + half, data[half:]),
            "metadata": (self._file, tags_at, tags),
            "entry": (self._index, self._index_end, entry + struct.pack("<8I", *where)),
        }
        self._index_end += len(entry) + 32

    def write(self, part: Part, *, cut: int | None = None) -> None:
        """Write one part of the image, or its first *cut* bytes."""
        path, start, data = self._parts[part]
        with path.open("r+b") as file:
            file.seek(start)
            file.write(data[:cut])

    def n_bytes(self, part: Part) -> int:
        return len(self._parts[part][2])

    def finish(self) -> None:
        """Cut off what is not used, as the writer does at the end."""
        header_at = self._parts["header"][1]
        with self._file.open("r+b") as file:
            file.seek(header_at + 2 + 12 * _N_TAGS)
            file.write(bytes(4))  # no image comes behind this one
        for path, n_bytes in ((self._index, self._index_end), (self._file, self._end)):
            with path.open("r+b") as file:
                file.truncate(n_bytes)


def _header(pixels: np.ndarray, pixels_at: int, tags_at: int, tags_bytes: int) -> bytes:
    """Return a TIFF header with all that Micro-Manager puts into it."""
    height, width = pixels.shape
    resolution_at = pixels_at - 16
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 16),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, pixels_at),
        (277, 3, 1, 1),
        (278, 3, 1, height),
        (279, 4, 1, pixels.nbytes),
        (282, 5, 1, resolution_at),
        (283, 5, 1, resolution_at + 8),
        (296, 3, 1, 3),
        (51123, 2, tags_bytes, tags_at),
    ]
    packed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    next_at = tags_at + tags_bytes
    return (
        struct.pack("<H", len(tags))
        + packed
        + struct.pack("<I", next_at + next_at % 2)
        + struct.pack("<4I", 1, 1, 1, 1)
    )
