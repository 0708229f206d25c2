"""What a TIFF's own text announces, compared with the file before memory is taken for it."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tifffile

from care_live.errors import SourceError
from care_live.recorded.recording import MAX_PLANES
from care_live.recorded.tiff_chain import read_chain
from care_live.recorded.unbuffered import UnbufferedFile

_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*")
_SIZE = re.compile(r'\bSize[TCZ]\s*=\s*"(\d+)"')
_PLACED = re.compile(r'<(?:\w+:)?TiffData\b([^>]*)>(?:\s*<(?:\w+:)?UUID\b[^>]*?\bFileName\s*=\s*"([^"]+)")?')
_FIRST, _COUNT = re.compile(r'\bIFD\s*=\s*"(\d+)"'), re.compile(r'\bPlaneCount\s*=\s*"(\d+)"')


def check_announced(path: Path, file: tifffile.TiffFile, n_headers: int) -> None:
    """Compare what a file says of its images with the images that it has.

    Parameters
    ----------
    n_headers : how many images the file's chain of headers has

    Raises
    ------
    SourceError
        More planes than any acquisition has, images that are not there, or numbers that contradict each other.
    """
    if file.is_ome:
        _check_ome(path, file.ome_metadata or "", n_headers)
    if file.is_imagej and (header := file.imagej_metadata):
        n_planes = math.prod(int(header.get(axis, 1)) for axis in ("frames", "slices", "channels"))
        if n_planes > 1 and int(header.get("images", n_planes)) != n_planes:
            raise SourceError(f"{path} announces {header['images']} images, but {n_planes} by its axes: it is damaged")


def check_series(path: Path, xml: str, series: Sequence[Any], n_headers: int) -> None:
    """Compare what an OME-XML places with what tifffile found: it passes over images that it can't make sense of.

    Parameters
    ----------
    series : tifffile's
    n_headers : how many images the file's chain of headers has

    Raises
    ------
    SourceError
        A series or a plane is not found though its file is there, or planes are missing while images are left over.
    """
    pages = [page for one in series for page in one.pages]
    n_series, n_read = len(_PIXELS.findall(xml)), sum(page is not None for page in pages)
    here = [placed for placed in _placed(xml, path.name) if path.with_name(placed.file).is_file()]
    if len(series) != n_series:
        raise SourceError(f"{path}: its OME-XML announces {n_series} series of images, but {len(series)} can be read")
    if n_read < sum(placed.n_images for placed in here):
        raise SourceError(f"{path}: its OME-XML places more than the {n_read} planes that can be read: it is damaged")
    n_own = sum(placed.n_images for placed in here if placed.file == path.name)
    if n_read < len(pages) and 0 < n_own < n_headers:
        raise SourceError(f"{path}: its OME-XML places {n_own} of its {n_headers} images: it is damaged")


def _check_ome(path: Path, xml: str, n_headers: int) -> None:
    for pixels in _PIXELS.findall(xml):
        n_planes = math.prod(int(n) for n in _SIZE.findall(pixels))
        if n_planes > MAX_PLANES:
            raise SourceError(f"{path} announces {n_planes} planes; wanted at most {MAX_PLANES}: it is damaged")
    wanted: dict[str, int] = {}
    for placed in _placed(xml, path.name):
        wanted[placed.file] = max(wanted.get(placed.file, 0), placed.first + placed.n_images)
    for name, n_wanted in wanted.items():
        other = path.with_name(name)
        n_there = n_headers if name == path.name else _n_headers(other) if other.is_file() else n_wanted
        if n_there < n_wanted:
            raise SourceError(
                f"{path} says that {name} has {n_wanted} images, but it has {n_there}: it was cut. "
                "Copy the file again from where it was recorded"
            )


class OmeImages(NamedTuple):
    """Images of one file that an OME-XML names."""

    file: str
    first: int
    n_images: int


def _placed(xml: str, own_name: str) -> list[OmeImages]:
    found = []
    for attributes, name in _PLACED.findall(xml):
        first, count = _FIRST.search(attributes), _COUNT.search(attributes)
        if first:  # without it, the file is said to have all images, in order
            found.append(OmeImages(Path(name).name or own_name, int(first[1]), int(count[1]) if count else 1))
    return found


def _n_headers(path: Path) -> int:
    with contextlib.closing(UnbufferedFile(path)) as file:
        return read_chain(file).n_images
