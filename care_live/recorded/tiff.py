"""TIFF files: OME-TIFF and ImageJ say their axes themselves, plain stacks need them given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from care_live.errors import ConfigError, SourceError
from care_live.images import Counts, Plan, PlaneIndex, read_only
from care_live.recorded import ome_xml
from care_live.recorded.recording import Contents, Stamp, counts_dtype, every_index, stacks_of

_AXES = frozenset("TPCZYX")


class TiffRecording:
    """A TIFF file; the series of an OME-TIFF are its stage positions.

    Parameters
    ----------
    path : file
    axes : letters of TPCZYX, Y and X last; wins over what the file says

    Raises
    ------
    SourceError
        No TIFF, colour or float pixels.
    ConfigError
        The axes are not known, or don't fit the shape.
    """

    def __init__(self, path: Path, *, axes: str | None = None) -> None:
        self._path = path
        try:
            self._file = tifffile.TiffFile(path)
            self._series = _positions(self._file, axes)
        except (tifffile.TiffFileError, IndexError, ValueError) as error:
            raise SourceError(f"{path} cannot be read as TIFF: {error}") from error
        try:
            self._axes = check_axes(path, axes or _known_axes(path, self._series[0]), self._series[0].shape)
            self._about = ome_xml.describe(self._file, self._axes)
            self.contents = self._describe()
        except (SourceError, ConfigError):
            self._file.close()
            raise
        self._maps = [_mapped(path, series) for series in self._series]

    def _describe(self) -> Contents:
        shape = self._series[0].shape
        n = {**dict(zip(self._axes, shape, strict=True)), "P": self._n_positions()}
        order = every_index(n)
        plan = Plan(
            stacks=stacks_of(order),
            shape_px=(shape[-2], shape[-1]),
            dtype=counts_dtype(self._series[0].dtype, self._path),
            voxel_size_um=self._about.voxel_size_um,
            channels=self._about.channels(n.get("C", 1)),
            positions=tuple(f"position {p}" for p in range(n["P"])) if n["P"] > 1 else ("default",),
            interval_s=self._about.interval_s or 0.0,
        )
        return Contents(plan, order, {"format": "TIFF", "path": str(self._path), "axes": self._axes})

    def _n_positions(self) -> int:
        if "P" in self._axes:
            return int(self._series[0].shape[self._axes.index("P")])
        return len(self._series)

    def read_plane(self, index: PlaneIndex) -> Counts:
        place = {"T": index.t, "P": index.p, "C": index.c, "Z": index.z}
        i_series = 0 if "P" in self._axes else index.p
        steps = tuple(place[letter] for letter in self._axes[:-2])
        mapped = self._maps[i_series]
        plane = mapped[steps] if mapped is not None else _from_page(self._series[i_series], steps)
        return read_only(np.ascontiguousarray(plane, dtype=plane.dtype.newbyteorder("=")))

    def stamp(self, index: PlaneIndex) -> Stamp:
        return self._about.stamp(index)

    def close(self) -> None:
        self._maps = []
        self._file.close()


def _positions(file: tifffile.TiffFile, axes: str | None) -> list[Any]:
    """Return the series that are stage positions: those of an OME-TIFF that look like the first."""
    series = file.series
    if not file.is_ome or axes:
        return [series[0]]
    return [one for one in series if one.shape == series[0].shape and one.axes == series[0].axes]


def _known_axes(path: Path, series: Any) -> str:
    letters = str(series.axes)
    if len(series.shape) == 2:
        return "YX"
    if not set(letters) <= _AXES:
        shape = "x".join(map(str, series.shape))
        raise ConfigError(f"{path} does not say what its {shape} axes are: give axes, such as TZYX")
    return letters


def check_axes(path: Path, axes: str, shape: tuple[int, ...]) -> str:
    """Return the axes of an array.

    Raises
    ------
    ConfigError
        Unknown or doubled letters, Y and X not last, or another number of them than the array has.
    """
    if not set(axes) <= _AXES or len(set(axes)) != len(axes) or not axes.endswith("YX"):
        raise ConfigError(f"axes are {axes!r}; wanted letters of TPCZYX, each once, YX last")
    if len(axes) != len(shape):
        raise ConfigError(f"{path} has shape {shape}, {len(shape)} axes; {axes!r} names {len(axes)}")
    return axes


def _mapped(path: Path, series: Any) -> np.ndarray[Any, Any] | None:
    """Return the pixels as a memory map, where they lie in one piece in this very file."""
    if series.dataoffset is None or Path(series.pages[0].parent.filehandle.path) != path.resolve():
        return None
    dtype = np.dtype(series.dtype).newbyteorder(series.pages[0].parent.byteorder)
    mapped: np.ndarray[Any, Any] = np.memmap(path, dtype, mode="r", offset=series.dataoffset, shape=series.shape)
    return mapped


def _from_page(series: Any, steps: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Decode the page that holds one plane; a page may hold several planes."""
    n_planes = int(np.prod(series.shape[:-2], dtype=int))
    plane = int(np.ravel_multi_index(steps, series.shape[:-2])) if steps else 0
    per_page = max(1, n_planes // len(series.pages))
    page = series.pages[plane // per_page]
    if page is None:
        return np.zeros(series.shape[-2:], series.dtype)
    decoded: np.ndarray[Any, Any] = page.asarray().reshape(-1, *series.shape[-2:])[plane % per_page]
    return decoded
