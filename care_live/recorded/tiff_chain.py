"""The chain of headers in a TIFF file, checked before anything follows it.

Each header has the place of the next one and of its pixels. In a file that is cut or damaged these numbers lead out of
the file, in circles, or to bytes that belong to something else.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live.errors import SourceError
from care_live.recorded.recording import MAX_PLANES
from care_live.recorded.unbuffered import UnbufferedFile

_MAX_TAGS = 4096
_PRIVATE = 32768
"""From here on, anyone may have defined the tag."""
_FAR = 1 << 60
"""Behind the end of every file, and two of them still fit into 63 bits."""
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_UNSIGNED = {3: "u2", 4: "u4", 16: "u8"}
_OFFSETS, _COUNTS = (273, 324), (279, 325)
"""Where the strips, or the tiles, are; how many bytes each has."""
_DESCRIPTION, _TEXT = 270, 2
_HEADER_BYTES = 16


class TagKind(NamedTuple):
    """How numbers are written in one file."""

    order: str
    n_tags: str
    tag: str
    """Number, type, how many items."""
    value_bytes: int
    """Items that fit into this lie in the tag itself, others where it says."""


_CLASSIC = (42, "H", "HHI", 4)
_BIG = (43, "Q", "HHQ", 8)


class Tag(NamedTuple):
    """One tag of a header."""

    item: int
    n_items: int
    at: int
    """Byte at which the items begin."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What a file's headers occupy, and where they say that pixels are."""

    n_images: int
    headers: NDArray[np.int64]
    """(n, 2), first byte and the one behind the last, of headers and of values that lie apart."""
    strips: NDArray[np.int64]
    """(n, 2), the same of strips or tiles; neighbours of one image are joined."""


def read_chain(file: UnbufferedFile) -> Chain:
    """Read every header.

    Raises
    ------
    SourceError
        The file is no TIFF, or its chain of headers leads out of it, in circles, or overlaps with pixels.
    """
    kind, start = begin(file)
    headers = [(0, _HEADER_BYTES // 2)]
    strips: list[NDArray[np.int64]] = []
    seen: set[int] = set()
    announced, outside = ImageJHeader(), ""
    while start:
        try:
            if start in seen or len(seen) >= MAX_PLANES:
                raise SourceError(f"{file.path} has a header at byte {start} that leads in circles: it is damaged")
            tags, end, next_start = read_header(file, kind, start)
            outside = outside or _outside(file, tags)
            announced = announced if seen else _imagej(file, kind, tags)
            strips.append(_strips(file, kind, tags))
        except SourceError as error:
            raise SourceError(f"{outside or error}; {announced.said(len(strips))}") from error
        seen.add(start)
        headers += [(start, end), *(_extent(tag) for tag in tags.values() if _is_apart(tag, kind))]
        start = next_start
    if outside or announced.n_images > max(announced.n_whole, len(seen)):
        raise SourceError(f"{outside or f'{file.path} was cut'}; {announced.said(len(seen))}")
    if not strips:
        raise SourceError(f"{file.path} holds no image")
    chain = Chain(len(seen), np.array(headers, np.int64), np.concatenate(strips))
    refuse_overlap(file.path, chain.headers, chain.strips)
    return chain


class ImageJHeader(NamedTuple):
    """ImageJ's entry in the first header: all images lie one behind the other, often without headers of their own."""

    n_images: int = 0
    n_whole: int = 0
    """As many of them lie within the file."""

    def said(self, n_read: int) -> str:
        of_all = f" of {self.n_images}" if self.n_images else ""
        return f"{max(self.n_whole, n_read)}{of_all} images are whole. Copy the file again from where it was recorded"


def _imagej(file: UnbufferedFile, kind: TagKind, tags: dict[int, Tag]) -> ImageJHeader:
    described, offsets, counts = (tags.get(tag) for tag in (_DESCRIPTION, _OFFSETS[0], _COUNTS[0]))
    if described is None or offsets is None or counts is None or described.item != _TEXT:
        return ImageJHeader()
    if _extent(described)[1] > file.n_bytes:
        return ImageJHeader()
    text = file.read(described.at, described.n_items).tobytes()
    found = re.search(rb"^images=(\d{1,12})\s*$", text, re.MULTILINE) if text.startswith(b"ImageJ=") else None
    image_bytes = int(numbers(file, kind, counts).sum())
    if found is None or not image_bytes:
        return ImageJHeader()
    first = int(numbers(file, kind, offsets).min())
    n_images = int(found[1])
    return ImageJHeader(n_images, min(n_images, max(0, file.n_bytes - first) // image_bytes))


def begin(file: UnbufferedFile) -> tuple[TagKind, int]:
    """Return how numbers are written, and where the first header is.

    Raises
    ------
    SourceError
        It does not begin as a TIFF file does.
    """
    head = file.read(0, min(_HEADER_BYTES, file.n_bytes)).tobytes().ljust(_HEADER_BYTES, b"\0")
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack_from(f"{order}H", head, 2)[0] if order else 0
    if order is None or version not in (_CLASSIC[0], _BIG[0]):
        why = (
            f"it begins with {head[:4]!r}" if file.n_bytes else "it is empty: copy it again from where it was recorded"
        )
        raise SourceError(f"{file.path} cannot be read as TIFF: {why}")
    _, n_tags, tag, value_bytes = _CLASSIC if version == _CLASSIC[0] else _BIG
    kind = TagKind(order, n_tags, tag, value_bytes)
    return kind, _number(kind, head[value_bytes : 2 * value_bytes])


def _number(kind: TagKind, data: bytes) -> int:
    return int.from_bytes(data[: kind.value_bytes], "little" if kind.order == "<" else "big")


def read_header(file: UnbufferedFile, kind: TagKind, start: int) -> tuple[dict[int, Tag], int, int]:
    """Return one header's tags, where it ends, and where the next one begins (0: there is no more).

    Raises
    ------
    SourceError
        The file ends before the header does, or it is damaged.
    """
    n_bytes = struct.calcsize(kind.n_tags)
    (n_tags,) = struct.unpack(kind.order + kind.n_tags, file.read(start, n_bytes).tobytes())
    if not 0 < n_tags <= _MAX_TAGS:
        raise SourceError(f"{file.path} has a header of {n_tags} tags at byte {start}: it is damaged")
    first, size = start + n_bytes, struct.calcsize(kind.order + kind.tag) + kind.value_bytes
    end = first + n_tags * size + kind.value_bytes
    data = file.read(first, end - first).tobytes()
    tags = {}
    for at in range(0, n_tags * size, size):
        number, item, n_items = struct.unpack_from(kind.order + kind.tag, data, at)
        value_at = at + size - kind.value_bytes
        if item not in _ITEM_BYTES and number < _PRIVATE:
            raise SourceError(f"{file.path} has tag {number} of unknown type {item} at byte {start}: it is damaged")
        fits = n_items * _ITEM_BYTES.get(item, 0) <= kind.value_bytes
        tags[number] = Tag(item, n_items, first + value_at if fits else _number(kind, data[value_at:]))
    return tags, end, _number(kind, data[-kind.value_bytes :])


def _outside(file: UnbufferedFile, tags: dict[int, Tag]) -> str:
    """Return what is wrong with a header whose values lie behind the file's end; empty where nothing is."""
    for number, tag in tags.items():
        if _extent(tag)[1] > file.n_bytes:
            return (
                f"{file.path} has tag {number} up to byte {_extent(tag)[1]}, but it ends after {file.n_bytes} bytes: "
                "it was cut or is damaged"
            )
    return ""


def _extent(tag: Tag) -> tuple[int, int]:
    return tag.at, tag.at + tag.n_items * _ITEM_BYTES.get(tag.item, 0)


def _is_apart(tag: Tag, kind: TagKind) -> bool:
    return tag.n_items * _ITEM_BYTES.get(tag.item, 0) > kind.value_bytes


def _strips(file: UnbufferedFile, kind: TagKind, tags: dict[int, Tag]) -> NDArray[np.int64]:
    """Return (n, 2), the extents of an image's strips or tiles; those that touch are joined."""
    offsets = next((numbers(file, kind, tags[tag]) for tag in _OFFSETS if tag in tags), None)
    counts = next((numbers(file, kind, tags[tag]) for tag in _COUNTS if tag in tags), None)
    if offsets is None or counts is None or offsets.shape != counts.shape:
        return np.zeros((0, 2), np.int64)  # the image cannot be read; another part decides whether it is read
    offsets, counts = offsets[counts > 0], counts[counts > 0]
    if (counts > file.n_bytes).any() or (offsets + counts > file.n_bytes).any():
        last = int((offsets + counts).max())
        raise SourceError(
            f"{file.path} has pixels up to byte {last}, but it ends after {file.n_bytes} bytes: it was cut or damaged"
        )
    order = np.argsort(offsets, kind="stable")
    starts, ends = offsets[order], (offsets + counts)[order]
    is_first = np.append(True, starts[1:] != ends[:-1])[: len(starts)]
    return np.stack([starts[is_first], ends[np.append(is_first[1:], True)[: len(ends)]]], axis=1)


def numbers(file: UnbufferedFile, kind: TagKind, tag: Tag) -> NDArray[np.int64]:
    """Return the items of a tag of whole numbers.

    Raises
    ------
    SourceError
        They are of another type, or not all there.
    """
    if tag.item not in _UNSIGNED:
        raise SourceError(f"{file.path} has offsets of TIFF type {tag.item}; wanted 3, 4 or 16: it is damaged")
    data = file.read(tag.at, tag.n_items * _ITEM_BYTES[tag.item])
    found: NDArray[np.int64] = (
        data.view(kind.order + _UNSIGNED[tag.item]).astype(np.uint64).clip(max=_FAR).astype(np.int64)
    )
    return found


def _united(extents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return extents (n, 2) without overlaps: values may be shared by several headers."""
    ordered = extents[np.argsort(extents[:, 0], kind="stable")]
    reached = np.maximum.accumulate(ordered[:, 1])
    is_first = np.append(True, ordered[1:, 0] > reached[:-1])
    return np.stack([ordered[is_first, 0], reached[np.append(is_first[1:], True)]], axis=1)


def refuse_overlap(path: Path, headers: NDArray[np.int64], pixels: NDArray[np.int64]) -> None:
    """Compare extents (n, 2) of headers and pixels.

    Raises
    ------
    SourceError
        A byte belongs to two images, or to an image and a header.
    """
    both = np.concatenate([_united(headers), pixels])
    ordered = both[np.argsort(both[:, 0], kind="stable")]
    doubled = np.flatnonzero(ordered[:-1, 1] > ordered[1:, 0])
    if len(doubled):
        raise SourceError(f"{path} has pixels that overlap at byte {ordered[doubled[0] + 1, 0]}: it is damaged")
