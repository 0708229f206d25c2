"""The two TIFF formats of Micro-Manager's window, image by image, also while they are being written.

*Image stack file*: one ``*_MMStack_POSITION.ome.tif`` a position (more when it grows beyond 4 GB). The file's first
bytes name the summary and the first header. An image is a TIFF header, the pixels and the metadata, written in this
order; its header says at once where the next one will be. Only the end writes the OME-XML.

*Separate image files*: ``POSITION/img_channel000_position000_time000000000_z000.tif``, written by ImageJ: header,
metadata, and the pixels last. The summary is the beginning of ``metadata.txt`` beside them.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from care_live.errors import SourceError
from care_live.images import Counts, read_only
from care_live.recorded.ndtiff_index import json_object
from care_live.recorded.recording import names_of
from care_live.recorded.tags import Places, number_of
from care_live.recorded.tiff_chain import Tag, TagKind, begin, numbers, read_header
from care_live.recorded.unbuffered import UnbufferedFile

_MAX_BYTES = 1 << 29
"""No camera has more pixels, no image more metadata."""
_SUMMARY_BYTES = 1 << 24
"""At the beginning of ``metadata.txt``; no summary is longer."""
_SUMMARY_MAGIC, _CLOSED_MAGIC = 2355492, 483765892
_HEADER_BYTES = 40
_WIDTH, _HEIGHT, _BITS, _PIXELS_AT, _SAMPLES, _PIXEL_BYTES = 256, 257, 258, 273, 277, 279
_METADATA, _IMAGEJ_LENGTHS, _IMAGEJ = 51123, 50838, 50839
_AXES_IN_TAGS = {"time": "FrameIndex", "position": "PositionIndex", "channel": "ChannelIndex", "z": "SliceIndex"}
_AXIS_IN_NAME = re.compile(r"(time|position|channel|z)(\d+)")
_IMAGE_NAME = re.compile(r"img_(?:(?:time|position|channel|z)\d+_?)+\.tif", re.ASCII)


class WindowImage(NamedTuple):
    """One image that is whole, and where its pixels are."""

    axes: dict[str, int]
    path: Path
    pixels_at: int
    height_px: int
    width_px: int
    dtype: np.dtype[Any]
    tags: Mapping[str, Any]
    index_at: int
    """How many images were found before it."""

    def read(self, file: UnbufferedFile) -> Counts:
        """Return its pixels, (y, x), read-only.

        Raises
        ------
        SourceError
            The file ends before, or cannot be read.
        """
        data = file.read(self.pixels_at, self.height_px * self.width_px * self.dtype.itemsize)
        native = data.view(self.dtype).astype(self.dtype.newbyteorder("="), copy=False)
        return read_only(native.reshape(self.height_px, self.width_px))


class _Pixels(NamedTuple):
    """What the TIFF header of an image says of its pixels."""

    at: int
    height_px: int
    width_px: int
    dtype: np.dtype[Any]

    @property
    def end(self) -> int:
        return self.at + self.height_px * self.width_px * self.dtype.itemsize


def _pixels(file: UnbufferedFile, kind: TagKind, tags: Mapping[int, Tag]) -> _Pixels:
    """Read the header of an image that lies in one piece.

    Raises
    ------
    SourceError
        It is in colour, compressed into another length, or not all there.
    """
    lacking = {_WIDTH, _HEIGHT, _BITS, _PIXELS_AT, _PIXEL_BYTES} - set(tags)
    if lacking:
        raise SourceError(f"{file.path} has an image without the TIFF tags {sorted(lacking)}: it is not whole")
    value = {tag: int(numbers(file, kind, tags[tag])[0]) for tag in (_WIDTH, _HEIGHT, _BITS, _PIXELS_AT)}
    samples = int(numbers(file, kind, tags[_SAMPLES])[0]) if _SAMPLES in tags else 1
    if samples != 1 or value[_BITS] not in (8, 16):
        raise SourceError(
            f"{file.path} has {samples} x {value[_BITS]} bits a pixel; wanted one grey channel of 8 or 16"
        )
    dtype = np.dtype(f"{kind.order}u{value[_BITS] // 8}")
    pixels = _Pixels(value[_PIXELS_AT], value[_HEIGHT], value[_WIDTH], dtype)
    n_bytes = int(numbers(file, kind, tags[_PIXEL_BYTES]).sum())
    if pixels.at + n_bytes != pixels.end or not 0 < n_bytes <= _MAX_BYTES:
        raise SourceError(
            f"{file.path} has {n_bytes} bytes for {pixels.height_px} x {pixels.width_px} px: it is damaged"
        )
    return pixels


# -- image stack files --------------------------------------------------------------------------------------------


class StackHead(NamedTuple):
    """The first bytes of an image stack file."""

    kind: TagKind
    first_at: int
    """Byte of the first image's header."""
    summary: dict[str, Any]
    is_closed: bool
    """Its writer has written the last image."""


def is_stack(name: str) -> bool:
    """Tell whether a file is named as an image stack file of Micro-Manager's window."""
    return "_MMStack" in name and name.endswith(".ome.tif")


def stack_head(file: UnbufferedFile) -> StackHead | None:
    """Read what the file says of the whole data set; None: it is not written yet.

    Raises
    ------
    SourceError
        It is no such file.
    """
    if file.n_bytes < _HEADER_BYTES:
        return None
    head = file.read(0, _HEADER_BYTES).tobytes()
    if not any(head):
        return None
    kind, first_at = begin(file)
    closed_magic, _, _, _, magic, n_bytes = struct.unpack_from(f"{kind.order}6I", head, 16)
    if magic != _SUMMARY_MAGIC or n_bytes > _MAX_BYTES:
        raise SourceError(f"{file.path} has no summary where Micro-Manager's image stack files have it")
    if _HEADER_BYTES + n_bytes > file.n_bytes:
        return None
    summary = json_object(file.read(_HEADER_BYTES, n_bytes).tobytes(), f"{file.path}: the summary")
    return StackHead(kind, first_at, summary, closed_magic == _CLOSED_MAGIC)


def next_in_stack(file: UnbufferedFile, kind: TagKind, at: int, n_before: int) -> tuple[WindowImage, int] | None:
    """Return the image whose header begins at byte *at*, and where the next header will be (0: there is none).

    None: it is not whole. Its metadata are written last, so they are read before the pixels can be.

    Raises
    ------
    SourceError
        The header is damaged, or the image is in colour.
    """
    if at + 2 > file.n_bytes or not any(file.read(at, 2)):
        return None
    tags, end, next_at = read_header(file, kind, at)
    pixels, metadata = _pixels(file, kind, tags), tags.get(_METADATA)
    if metadata is None or metadata.at + metadata.n_items > file.n_bytes:
        return None
    if not end <= pixels.at < pixels.end <= metadata.at or metadata.n_items > _MAX_BYTES:
        raise SourceError(f"{file.path} has pixels or metadata inside the header at byte {at}: it is damaged")
    data = file.read(metadata.at, metadata.n_items).tobytes().rstrip(b"\0")
    if not data.endswith(b"}"):
        return None
    says = json_object(data, f"{file.path}: the metadata of the image at byte {at}")
    axes = {axis: _whole(says, name, file) for axis, name in _AXES_IN_TAGS.items()}
    return WindowImage(axes, file.path, *pixels, says, n_before), next_at


def _whole(says: Mapping[str, Any], name: str, file: UnbufferedFile) -> int:
    number = number_of(says, name)
    if number is None or number != int(number) or number < 0:
        raise SourceError(f"{file.path}: an image's metadata say {name} = {says.get(name)!r}; wanted a count from 0")
    return int(number)


# -- separate image files -----------------------------------------------------------------------------------------


def is_separate(name: str) -> bool:
    """Tell whether a file is named as one of Micro-Manager's separate image files."""
    return _IMAGE_NAME.fullmatch(name) is not None


def separate_image(file: UnbufferedFile, n_before: int) -> WindowImage | None:
    """Return the image of a file of its own; None: it is not whole. ImageJ writes its pixels last.

    Raises
    ------
    SourceError
        It is no TIFF, or in colour.
    """
    if not file.n_bytes:
        return None
    kind, at = begin(file)
    if at + 2 > file.n_bytes:
        return None
    tags, _, _ = read_header(file, kind, at)
    pixels = _pixels(file, kind, tags)
    if pixels.end > file.n_bytes:
        return None
    axes = {axis: int(digits) for axis, digits in _AXIS_IN_NAME.findall(file.path.stem)}
    return WindowImage(axes, file.path, *pixels, _imagej_info(file, kind, tags), n_before)


def _imagej_info(file: UnbufferedFile, kind: TagKind, tags: Mapping[int, Tag]) -> dict[str, Any]:
    """Return the metadata that Micro-Manager puts into ImageJ's *Info*; empty where there are none."""
    lengths, data = tags.get(_IMAGEJ_LENGTHS), tags.get(_IMAGEJ)
    if lengths is None or data is None or data.n_items > _MAX_BYTES:
        return {}
    n_bytes = numbers(file, kind, lengths)
    if len(n_bytes) < 2 or n_bytes[:2].sum() > data.n_items:
        return {}
    text = file.read(data.at + int(n_bytes[0]), int(n_bytes[1])).tobytes()
    return json_object(
        text.decode("utf-16-be" if kind.order == ">" else "utf-16-le", errors="replace").encode(),
        f"{file.path}: its metadata",
    )


def separate_summary(folder: Path) -> dict[str, Any]:
    """Return what ``metadata.txt`` says of the whole data set, also while it grows; empty where there is none.

    Raises
    ------
    SourceError
        It cannot be read, or its summary is not whole.
    """
    path = folder / "metadata.txt"
    if not path.exists():
        return {}
    with contextlib.closing(UnbufferedFile(path)) as file:
        text = file.read(0, min(file.n_bytes, _SUMMARY_BYTES)).tobytes().decode(errors="replace")
    found = re.match(r'\s*\{\s*"Summary"\s*:\s*', text)
    try:
        summary = json.JSONDecoder().raw_decode(text, found.end())[0] if found else None
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} has a summary that is not whole: {error}") from error
    if not isinstance(summary, dict):
        raise SourceError(f"{path} has no summary yet: it is not whole")
    return summary


def is_separate_finished(folder: Path) -> bool:
    """Tell whether the ``metadata.txt`` of a position has its end."""
    path = folder / "metadata.txt"
    if not path.is_file():
        return False
    with path.open("rb", buffering=0) as file:
        file.seek(max(0, path.stat().st_size - 16))
        return b"".join(file.read(16).split()).endswith(b"}}")


# -- both ---------------------------------------------------------------------------------------------------------


def places_of(summary: Mapping[str, Any]) -> Places:
    """Return the numbering of the window's channels and positions: it counts them, the summary has their names."""
    wanted = summary.get("IntendedDimensions")
    n = wanted if isinstance(wanted, dict) else {}
    stage = summary.get("StagePositions")
    labels = [str(one.get("Label") or "") for one in stage if isinstance(one, dict)] if isinstance(stage, list) else []
    channels = summary.get("ChNames")
    names = [str(one or "") for one in channels] if isinstance(channels, list) else []
    return Places(
        channels=names_of("channel", names, _at_least(n, "channel", len(names))),
        positions=names_of("position", labels, _at_least(n, "position", len(labels))),
    )


def _at_least(wanted: Mapping[str, Any], axis: str, n_named: int) -> int:
    n = number_of(wanted, axis) or 1.0
    return max(1, n_named, int(n) if math.isfinite(n) and n < 1 << 16 else 1)
