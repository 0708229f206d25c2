"""The index of an NDTiff data set, which grows while images come.

An entry is ``n, axes as JSON, m, file name, 8 uint32``; the Java writer pads the file with zeros, and a reader may
meet half an entry. So nothing but whole entries counts.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from care_live.errors import SourceError

INDEX_NAME = "NDTiff.index"
_MAX_FIELD_BYTES = 1 << 16
"""No axes and no file name are longer; more is a broken index."""
_TAIL = struct.Struct("<8I")


class ImageEntry(NamedTuple):
    """Where one image is, as the index says."""

    axes: dict[str, Any]
    file_name: str
    pixels_at: int
    """Byte in that file."""
    width_px: int
    height_px: int
    pixel_type: int
    tags_at: int
    """Byte at which the image's metadata begins."""
    tags_bytes: int
    index_at: int
    """Byte of the index at which this entry begins."""


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
    if end + _TAIL.size > len(data) or not any(data[end : end + 4]):  # no image begins at byte 0: still padding
        return None
    return end + _TAIL.size - start


def entries(data: bytes, *, first_byte: int = 0) -> Iterator[tuple[int, ImageEntry]]:
    """Yield every whole entry and where in *data* it ends.

    Parameters
    ----------
    data : the index from byte *first_byte* on

    Raises
    ------
    SourceError
        The index is broken.
    """
    start = 0
    while (length := entry_bytes(data, start)) is not None:
        yield start + length, _entry(data[start : start + length], first_byte + start)
        start += length


def _entry(data: bytes, index_at: int) -> ImageEntry:
    (n_axes,) = struct.unpack_from("<I", data)
    axes = json_object(data[4 : 4 + n_axes], f"the entry at byte {index_at} of {INDEX_NAME}")
    name = _text(data[8 + n_axes : -_TAIL.size])
    pixels_at, width, height, kind, packed, tags_at, tags_bytes, tags_packed = _TAIL.unpack_from(
        data, len(data) - _TAIL.size
    )
    if packed or tags_packed:
        raise SourceError(f"{INDEX_NAME} says at byte {index_at} that an image is compressed; wanted uncompressed ones")
    return ImageEntry(axes, name, pixels_at, width, height, kind, tags_at, tags_bytes, index_at)


def _text(data: bytes) -> str:
    """Decode axes or a file name: Java writes them in the character set of its machine, on Windows no UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def json_object(data: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises
    ------
    SourceError
        It is no JSON, or no object.
    """
    try:
        value = json.loads(_text(data), parse_constant=lambda _: None)  # NaN is no JSON
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair could be stored nowhere
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{what} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise SourceError(f"{what} is a JSON {type(value).__name__}; wanted an object")
    return value
