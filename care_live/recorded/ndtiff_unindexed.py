"""Images of an NDTiff data set that its index does not name: the index was cut, or its writer died."""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Sequence
from pathlib import Path

from care_live.errors import SourceError
from care_live.recorded.ndtiff_index import INDEX_NAME, ImageEntry
from care_live.recorded.unbuffered import UnbufferedFile

logger = logging.getLogger(__name__)

N_TAGS = 13
"""Number that every image has."""
_TAG_BYTES = 12
_FIRST_AT = 4
"""Byte of a file that says where the first image's header is."""


def refuse_unindexed(folder: Path, found: Sequence[ImageEntry]) -> None:
    """Look behind the last image of each file that the index names, and into the files that it does not name.

    A writer that died leaves its file open: of such a file only the images that the index names are read, and a warning
    gives the number of the others.

    Raises
    ------
    SourceError
        A file that was closed holds more images than the index names, or one does not hold all of them.
    """
    _refuse_cut(folder, found)
    last: dict[str, ImageEntry] = {}
    for entry in found:
        if entry.file_name not in last or entry.pixels_at > last[entry.file_name].pixels_at:
            last[entry.file_name] = entry
    for path in sorted(folder.glob("*NDTiffStack*.tif")):
        with contextlib.closing(UnbufferedFile(path)) as file:
            n_images, was_closed = _behind(file, _link_behind(last.get(path.name)))
        if n_images and was_closed:
            raise SourceError(
                f"{path} holds {n_images} images more than {INDEX_NAME} names: the index was cut. "
                "Copy the data set again from where it was recorded"
            )
        if n_images:
            logger.warning("images without an index entry path=%s n=%d: their writer died", path, n_images)


def _refuse_cut(folder: Path, found: Sequence[ImageEntry]) -> None:
    n_bytes = {path.name: path.stat().st_size for path in folder.glob("*.tif")}
    whole = [one for one in found if one.tags_at + one.tags_bytes <= n_bytes.get(Path(one.file_name).name, 0)]
    if len(whole) < len(found):
        raise SourceError(
            f"{folder} was cut: {len(whole)} of {len(found)} images are whole. "
            "Copy the data set again from where it was recorded"
        )


def _link_behind(entry: ImageEntry | None) -> int:
    """Return the byte of the file that says where the header behind an image is."""
    return _FIRST_AT if entry is None else entry.pixels_at - 16 - 4


def _behind(file: UnbufferedFile, link_at: int) -> tuple[int, bool]:
    """Return how many headers follow, and whether the last one says that it is the last."""
    n_images, reached = 0, 0
    while True:
        (start,) = struct.unpack("<I", file.read(link_at, 4).tobytes())
        if start == 0:
            return n_images, True
        if start <= reached or start + 2 > file.n_bytes or file.read(start, 2).tobytes() != struct.pack("<H", N_TAGS):
            return n_images, False
        n_images, reached, link_at = n_images + 1, start, start + 2 + _TAG_BYTES * N_TAGS
