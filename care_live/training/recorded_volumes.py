"""Volumes of a recorded data set that is no TIFF and no OME-Zarr: ND2, LIF, CZI, NDTiff, Micro-Manager's folders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import CareLiveError, TrainingError
from care_live.images import PlaneIndex
from care_live.recorded import VENDOR_SUFFIXES, Recording, is_data_set, open_recording


def is_recorded(path: Path) -> bool:
    """Tell whether a path is read by this module; TIFF and Zarr have ways of their own."""
    if path.is_file():
        return path.suffix.lower() in VENDOR_SUFFIXES
    return path.suffix != ".zarr" and not (path / "zarr.json").exists() and is_data_set(path)


def sizes_of(path: Path) -> dict[str, int]:
    """Return the sizes of a data set along TCZYX, without its pixels.

    Raises
    ------
    TrainingError
        It cannot be read; names it.
    """
    with _opened(path) as recording:
        return _sizes(recording)


def read_volumes(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """Read a data set; yields the name of each volume, such as t0-p1, and its pixels, (c, z, y, x).

    Raises
    ------
    TrainingError
        It cannot be read, or planes are missing; names it.
    """
    with _opened(path) as recording:
        n, there = _sizes(recording), set(recording.contents.order)
        for t, p in sorted({(index.t, index.p) for index in there}):
            wanted = [PlaneIndex(t, p, c, z) for c in range(n["C"]) for z in range(n["Z"])]
            if missing := len(set(wanted) - there):
                raise TrainingError(f"{path} lacks {missing} of {len(wanted)} planes of t={t} p={p}: leave it out")
            planes = np.stack([recording.read_plane(index) for index in wanted])
            yield f"t{t}-p{p}", planes.reshape(n["C"], n["Z"], *planes.shape[1:])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Recording]:
    try:
        with contextlib.closing(open_recording(path, any_numbers=True)) as recording:
            yield recording
    except TrainingError:
        raise
    except CareLiveError as error:
        raise TrainingError(str(error)) from error


def _sizes(recording: Recording) -> dict[str, int]:
    n = {axis: 1 + max(getattr(index, axis) for index in recording.contents.order) for axis in "tcz"}
    y, x = recording.contents.plan.shape_px
    return {"T": n["t"], "C": n["c"], "Z": n["z"], "Y": y, "X": x}
