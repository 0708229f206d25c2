"""Reads single planes out of a TIFF series; a plane whose strips are not all there, and all whole, is an error."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import SourceError
from care_live.recorded.unbuffered import UnbufferedFile


class SeriesPlanes:
    """The planes of one series: in one piece, or page by page, also in neighbouring files of an OME-TIFF.

    Parameters
    ----------
    file : the file that holds the series, or its first page
    series : tifffile's
    """

    def __init__(self, file: UnbufferedFile, series: Any) -> None:
        self._file = file
        self._series = series
        self._other: UnbufferedFile | None = None
        self._shape: tuple[int, ...] = tuple(series.shape)
        self._dtype = np.dtype(series.dtype).newbyteorder(_byte_order(series))
        self._plane_bytes: int = math.prod(self._shape[-2:]) * self._dtype.itemsize
        self._start = _in_one_piece(file, series)
        self.n_planes: int = math.prod(self._shape[:-2])
        self.n_whole = self._count_whole()

    def _count_whole(self) -> int:
        """Return how many planes lie within the file."""
        if self._start is None:
            return self.n_planes
        return min(self.n_planes, max(0, self._file.n_bytes - self._start) // self._plane_bytes)

    @property
    def extent(self) -> tuple[int, int] | None:
        """First byte of the pixels and the one behind the last, where they lie in one piece."""
        return None if self._start is None else (self._start, self._start + self.n_planes * self._plane_bytes)

    def exists(self, plane: int) -> bool:
        """Return whether any file has that plane: an OME-TIFF may announce planes that were never recorded."""
        return self._start is not None or self._page_of(plane)[0] is not None

    def read(self, plane: int) -> NDArray[Any]:
        """Return one plane, (y, x), in the machine's byte order.

        Raises
        ------
        SourceError
            The plane is missing, or a part of it.
        """
        if self._start is not None:
            return self._shaped(self._file.read(self._start + plane * self._plane_bytes, self._plane_bytes))
        page, within = self._page_of(plane)
        if page is None:
            raise SourceError("no file has it")
        _check_strips(page)
        if page.is_final:
            start = page.dataoffsets[0] + within * self._plane_bytes
            return self._shaped(self._file_of(page).read(start, self._plane_bytes))
        decoded: NDArray[Any] = page.asarray().reshape(-1, *self._shape[-2:])[within]
        return np.ascontiguousarray(decoded)

    def _shaped(self, data: NDArray[np.uint8]) -> NDArray[Any]:
        native: NDArray[Any] = data.view(self._dtype).astype(self._dtype.newbyteorder("="), copy=False)
        return native.reshape(self._shape[-2:])

    def _page_of(self, plane: int) -> tuple[Any, int]:
        """Return the page that holds a plane, and which of the page's planes it is."""
        per_page = max(1, self.n_planes // len(self._series.pages))
        return self._series.pages[plane // per_page], plane % per_page

    def _file_of(self, page: Any) -> UnbufferedFile:
        path = _path_of(page)
        if path == self._file.path.resolve():
            return self._file
        if self._other is None or self._other.path != path:
            self.close()
            self._other = UnbufferedFile(path)
        return self._other

    def close(self) -> None:
        if self._other is not None:
            self._other.close()
        self._other = None


def _path_of(page: Any) -> Path:
    return Path(page.parent.filehandle.path).resolve()


def _byte_order(series: Any) -> str:
    return str(next(page for page in series.pages if page is not None).parent.byteorder)


def _in_one_piece(file: UnbufferedFile, series: Any) -> int | None:
    """Return where the pixels begin, if they lie one plane behind the other in this very file."""
    if series.dataoffset is None or _path_of(series.pages[0]) != file.path.resolve():
        return None
    return int(series.dataoffset)


def _check_strips(page: Any) -> None:
    """Refuse a page with strips that are missing, or of other lengths than its pixels need.

    Raises
    ------
    SourceError
        tifffile would fill what is missing with zeros.
    """
    counts = page.databytecounts
    if not counts or len(counts) != len(page.dataoffsets) or not all(counts) or not all(page.dataoffsets):
        raise SourceError("some of its strips are missing")
    if page.is_final and sum(counts) != page.nbytes:
        raise SourceError(f"its strips have {sum(counts)} bytes, its pixels {page.nbytes}: it is damaged")
    n_strips = math.prod(page.keyframe.chunked)
    if len(counts) != n_strips:
        raise SourceError(f"it has {len(counts)} strips; wanted {n_strips}: it is damaged")
