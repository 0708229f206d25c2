"""TIFF files: OME-TIFF and ImageJ files contain their axes; for plain stacks the user gives them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from care_live.errors import ConfigError, SourceError
from care_live.images import Counts, Plan, PlaneIndex, read_only
from care_live.recorded import ome_xml
from care_live.recorded.recording import Contents, Stamp, check_size, every_index, number_dtype, stacks_of
from care_live.recorded.tiff_announced import check_announced, check_series
from care_live.recorded.tiff_chain import Chain, read_chain, refuse_overlap
from care_live.recorded.tiff_pages import SeriesPlanes
from care_live.recorded.unbuffered import UnbufferedFile

logger = logging.getLogger(__name__)

_AXES = frozenset("TPCZYX")
_LIKELY_AXES = {3: "ZYX", 4: "TZYX", 5: "TZCYX"}
"""By their number, to show how they are given."""


class TiffRecording:
    """A TIFF file; the series of an OME-TIFF are its stage positions.

    Parameters
    ----------
    path : file
    axes : letters of TPCZYX, Y and X last, which win over what a file of this number of axes says. Or several such,
        separated by commas, for files of several kinds: each that names no axes has those of its number

    Raises
    ------
    SourceError
        No TIFF, colour, pixels that are no numbers, or the file was cut or damaged.
    ConfigError
        The axes are not known, or don't fit the shape.
    """

    def __init__(self, path: Path, *, axes: str | None = None) -> None:
        self._path = path
        with contextlib.ExitStack() as opened:
            raw = UnbufferedFile(path)
            opened.callback(raw.close)
            chain = read_chain(raw)
            with _quiet():
                file = opened.enter_context(tifffile.TiffFile(path))
                check_announced(path, file, chain.n_images)
                series = _positions(path, file, axes)
                self._axes = _axes_of(path, series[0], axes or "")
                self._about = ome_xml.describe(file, self._axes)
                self._shape: tuple[int, ...] = series[0].shape
                self._dtype = number_dtype(series[0].dtype, path)
                check_size(path, (len(series), *self._shape), series[0].dtype.itemsize)
                self._pixels = series[0].dtype.name
                self._planes = [SeriesPlanes(raw, one) for one in series]
                n_apart = _n_apart(file, series[0])
            _check_whole(path, self._planes[0], chain, n_apart=n_apart)
            self.contents = self._describe()
            self._opened = opened.pop_all()

    def _describe(self) -> Contents:
        n = {**dict(zip(self._axes, self._shape, strict=True)), "P": self._n_positions()}
        every = every_index(n)
        order = tuple(index for index in every if self._planes[self._series_of(index)].exists(self._number_of(index)))
        if len(order) < len(every):
            logger.warning("planes absent path=%s n=%d of=%d", self._path, len(every) - len(order), len(every))
        recorded = {index.volume for index in order}
        plan = Plan(
            stacks=stacks_of(index for index in every if index.volume in recorded),
            shape_px=(self._shape[-2], self._shape[-1]),
            dtype=self._dtype,
            voxel_size_um=self._about.voxel_size_um,
            channels=self._about.channels(n.get("C", 1)),
            positions=self._about.positions(n["P"]),
            interval_s=self._about.interval_s or 0.0,
        )
        return Contents(plan, order, {"format": "TIFF", "path": str(self._path), "axes": self._axes}, self._pixels)

    def _n_positions(self) -> int:
        return self._shape[self._axes.index("P")] if "P" in self._axes else len(self._planes)

    def _series_of(self, index: PlaneIndex) -> int:
        return 0 if "P" in self._axes else index.p

    def _number_of(self, index: PlaneIndex) -> int:
        """Return which plane of its series it is."""
        place = {"T": index.t, "P": index.p, "C": index.c, "Z": index.z}
        steps = [place[letter] for letter in self._axes[:-2]]
        return int(np.ravel_multi_index(steps, self._shape[:-2])) if steps else 0

    def read_plane(self, index: PlaneIndex) -> Counts:
        with _quiet():
            return read_only(self._planes[self._series_of(index)].read(self._number_of(index)))

    def stamp(self, index: PlaneIndex) -> Stamp:
        return self._about.stamp(index)

    def close(self) -> None:
        for planes in self._planes:
            planes.close()
        self._opened.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile from logging about damaged bytes: a SourceError reports them."""
    log = logging.getLogger("tifffile")
    log.addFilter(_refuse)
    try:
        yield
    finally:
        log.removeFilter(_refuse)


def _refuse(_: logging.LogRecord) -> bool:
    return False


def _n_apart(file: tifffile.TiffFile, first: Any) -> int:
    """Return how many images need not belong to the series: small copies; all, where the file lists its images."""
    if first.kind in ("ome", "mmstack"):
        return len(file.pages)
    if len(file.pages) <= len(first.pages):
        return 0
    return sum(page.aspage().is_reduced for page in file.pages)


def _check_whole(path: Path, planes: SeriesPlanes, chain: Chain, *, n_apart: int) -> None:
    """Refuse a series that does not end within the file, lies over a header, or leaves out images.

    Parameters
    ----------
    n_apart : images that need not belong to it

    Raises
    ------
    SourceError
        The file was cut, or is damaged.
    """
    if planes.n_whole < planes.n_planes:
        raise SourceError(
            f"{path} was cut: {planes.n_whole} of {planes.n_planes} images are whole. "
            "Copy the file again from where it was recorded"
        )
    if planes.n_planes < chain.n_images - n_apart:
        raise SourceError(
            f"{path} has {chain.n_images - n_apart} images, but only {planes.n_planes} belong together: "
            "it is damaged, or holds images of several kinds"
        )
    if planes.extent is not None:
        refuse_overlap(path, chain.headers, np.array([planes.extent], np.int64))


def _positions(path: Path, file: tifffile.TiffFile, axes: str | None) -> list[Any]:
    """Return the series that are stage positions: those of an OME-TIFF that look like the first."""
    series = file.series
    first = series[0]
    if first.kind != "ome" or axes:
        return [first]
    check_series(path, file.ome_metadata or "", series, len(file.pages))
    alike = [one for one in series if one.shape == first.shape and one.axes == first.axes]
    if any(one.dtype != first.dtype for one in alike):
        raise SourceError(
            f"{path}: its images have different types of pixels; wanted {first.dtype} in all, as the first has"
        )
    return alike


def _axes_of(path: Path, series: Any, given: str) -> str:
    """Return the axes of a series, see `TiffRecording`.

    Raises
    ------
    SourceError
        The file is in colour.
    ConfigError
        They are unknown, or no axes of a file.
    """
    letters = _letters(path, series)
    choices = [check_axes(one) for one in given.split(",")] if given else []
    fitting = next((one for one in choices if len(one) == len(series.shape)), "")
    if fitting and len(choices) == 1:
        return fitting
    if found := _said(path, letters, series.shape) or fitting:
        return found
    such = _LIKELY_AXES.get(len(series.shape), "TPZCYX")
    shape = "x".join(map(str, series.shape))
    if given:
        raise ConfigError(
            f"{path} does not name its {len(series.shape)} axes ({shape}), and {given} are others: give both, as in "
            f"{given},{such}"
        )
    raise ConfigError(
        f"{path} does not say what its {shape} axes are: give axes, such as {such} (--axes, or axes in a config)"
    )


def _letters(path: Path, series: Any) -> str:
    """Return what tifffile takes for a series' axes.

    Raises
    ------
    SourceError
        Its pixels have samples of colours.
    """
    letters = str(series.axes)
    if letters.endswith("S"):
        raise _in_colour(path, series.shape[-1])
    return letters if "P" in letters else letters.replace("R", "P")  # regions: the positions of image stack files


def _said(path: Path, letters: str, shape: tuple[int, ...]) -> str:
    """Return the axes that a file names, empty where it names none."""
    if "S" in letters:
        raise _in_colour(path, shape[letters.index("S")])
    if len(shape) == 2:
        return "YX"
    return letters if set(letters) <= _AXES else ""


def _in_colour(path: Path, n: int) -> SourceError:
    return SourceError(
        f"{path} is in colour: {n} samples a pixel; wanted one grey value. Save its colours as channels, or only the "
        "one that was recorded; where they are planes or channels, one behind the other, give axes, such as CYX"
    )


def check_axes(axes: str) -> str:
    """Return the axes of an array.

    Raises
    ------
    ConfigError
        Unknown or doubled letters, or Y and X not last.
    """
    if not set(axes) <= _AXES or len(set(axes)) != len(axes) or not axes.endswith("YX"):
        raise ConfigError(f"axes are {axes!r}; wanted letters of TPCZYX, each once, YX last")
    return axes
