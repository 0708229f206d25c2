"""Volumes on disk as arrays of (c, [z,] y, x): OME-Zarr is read as it is needed, all other files are in memory.

TIFF and OME-Zarr are read here. ND2, LIF, CZI, NDTiff and Micro-Manager's folders are recorded data sets, see
`care_live.recorded`.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import CareLiveError, TrainingError
from care_live.images import PlaneIndex
from care_live.recorded import VENDOR_SUFFIXES, Recording, is_data_set, open_recording
from care_live.training.data.image_parts import OnDisk
from care_live.training.data.intensity import thin
from care_live.training.data.past_frames import Moment

_ORDER = "TCZYX"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One volume that has been found but not read."""

    label: str
    """What an error calls it: the file, and the time point where it has several."""
    file: str
    """Name of the file without ending."""
    image: Any
    """(c, [z,] y, x); an `OnDisk`, or several joined."""
    moment: Moment | None = None
    """Of a frame of a time-lapse."""


def find(path: Path, pattern: str, axes: str) -> dict[str, StoredImage]:
    """List the volumes of a folder, or of one OME-Zarr array; by name, sorted.

    Parameters
    ----------
    path : a folder of files (TIFF, ND2, LIF, CZI), or of such folders; a ``.zarr``; one file; or one data set of
        Micro-Manager. All but Zarr is in memory
    axes : of every file, a subset of TCZYX in that order; every time point is a volume

    Raises
    ------
    TrainingError
        The path does not exist, nothing matches, or a file is no image of these axes.
    """
    if _is_zarr(path):
        return dict(_timepoints("t", path, _open_zarr(path), axes=_ORDER))
    found: dict[str, StoredImage] = {}
    for file in _files(path, pattern):
        name = _name(file, path)
        found |= (
            _recorded(file, name) if is_recorded(file) else dict(_timepoints(name, file, open_tiff(file), axes=axes))
        )
    return found


def _name(file: Path, folder: Path) -> str:
    """Return what a file has in common with its partner in another folder: its name, and that of its subfolder."""
    if file == folder:
        return "" if is_recorded(file) else file.stem
    return file.relative_to(folder).with_name(file.stem).as_posix()


def _recorded(file: Path, name: str) -> dict[str, StoredImage]:
    """Return the volumes of a recorded data set; one that is named itself needs no name that its partner has, too."""
    start = f"{name}-" if name else ""
    return {
        f"{start}t{t}-p{p}": StoredImage(
            f"{file} t{t}-p{p}", name or f"t{t}-p{p}", OnDisk(pixels, None, True), Moment(f"{start}p{p}", t)
        )
        for (t, p), pixels in read_volumes(file)
    }


def find_in(folders: Sequence[Path], pattern: str, axes: str) -> dict[str, StoredImage]:
    """List the volumes of several folders, see `find`; of several, each name begins with its folder's."""
    if len(folders) == 1:
        return find(folders[0], pattern, axes)
    found = {folder: find(folder, pattern, axes) for folder in folders}
    return {
        f"{folder}/{name}": within(stored, f"{folder}/")
        for folder, images in found.items()
        for name, stored in images.items()
    }


def within(stored: StoredImage, folder: str) -> StoredImage:
    """Return an image with names that begin with those of its folder."""
    moment = None if stored.moment is None else Moment(folder + stored.moment.series, stored.moment.t)
    return replace(stored, file=folder + stored.file, moment=moment)


def _is_zarr(path: Path) -> bool:
    if not path.exists() and not is_recorded(path):
        raise TrainingError(f"{path} does not exist: correct the path in [data]")
    return path.suffix == ".zarr" or (path / "zarr.json").exists() or (path / ".zgroup").exists()


def _files(path: Path, pattern: str) -> list[Path]:
    if path.is_file() or is_recorded(path):
        return [path]
    files = sorted(path.glob(pattern)) or sorted(path.glob(f"*/{pattern}"))
    if not files:
        raise TrainingError(
            f"{path} has no file that matches {pattern!r}: correct the folder, or --pattern (in a config: data.pattern)"
        )
    return files


def first_file(path: Path, pattern: str) -> Path:
    """Return the first file of a folder, or an OME-Zarr itself.

    Raises
    ------
    TrainingError
        There is no such file.
    """
    return path if _is_zarr(path) else _files(path, pattern)[0]


def look(path: Path, pattern: str, axes: str | None) -> tuple[str, dict[str, int]]:
    """Return the axes and sizes of the first file of a folder, or of an OME-Zarr array, without reading pixels.

    Parameters
    ----------
    axes : where they are known; None: those in the file, or ZYX and YX by their number

    Raises
    ------
    TrainingError
        There is no such file, or its axes are in another order than TCZYX.
    """
    if _is_zarr(path):
        shape = _open_zarr(path).shape
        return _ORDER, dict(zip(_ORDER, shape, strict=True))
    file = _files(path, pattern)[0]
    if is_recorded(file):
        return _ORDER, sizes_of(file)
    said, shape = _described(file)
    axes = axes or _ordered(said, file)
    if len(axes) != len(shape):
        raise TrainingError(f"{file} has {len(shape)} axes {shape}, {axes} were named: correct --axes")
    return axes, dict(zip(axes, shape, strict=True))


def names_axes(path: Path, pattern: str) -> bool:
    """Tell whether the first file of a folder names its axes; else they follow from their number.

    Raises
    ------
    TrainingError
        There is no such file.
    """
    if _is_zarr(path) or is_recorded(file := _files(path, pattern)[0]):
        return True
    said, shape = _described(file)
    return len(shape) < 3 or set(said) <= set(_ORDER)


def _described(file: Path) -> tuple[str, tuple[int, ...]]:
    """Return the axes of a TIFF file by its metadata, such as ZYX, or QYX where it has none, and its shape."""
    import tifffile

    try:
        with tifffile.TiffFile(file) as opened:
            return opened.series[0].axes, opened.series[0].shape
    except (OSError, ValueError, KeyError, IndexError, struct.error, tifffile.TiffFileError) as error:
        raise TrainingError(f"{file} is no readable TIFF image: {error}") from error


def _ordered(said: str, file: Path) -> str:
    """Return a file's axes; two or three without names are YX and ZYX."""
    if set(said) <= set(_ORDER) and list(said) == sorted(said, key=_ORDER.index):
        return said
    if len(said) <= 3 and not set(said) & set("CST"):
        return "ZYX"[-len(said) :]
    raise TrainingError(
        f"{file} has axes {said}, wanted a subset of {_ORDER} in that order: name them with --axes, or save it so"
    )


def read(stored: StoredImage, *, n_channels: int) -> Any:
    """Return a volume after looking at a thin sample of its values.

    Raises
    ------
    TrainingError
        Another number of channels, a value that is not finite, or one value everywhere; names the file.
    """
    image = stored.image
    if image.shape[0] != n_channels:
        raise TrainingError(
            f"{stored.label} has {image.shape[0]} channels, the network takes {n_channels}: "
            "correct data.axes or the network's channels"
        )
    sample, _ = thin(image)
    if not np.isfinite(sample).all():
        raise TrainingError(f"{stored.label} has values that are not finite (NaN or infinity): repair or remove it")
    if sample.min() == sample.max():
        raise TrainingError(f"{stored.label} is {sample.flat[0]} everywhere: nothing can be learnt from it, remove it")
    return image


def _timepoints(stem: str, path: Path, array: Any, *, axes: str) -> Iterator[tuple[str, StoredImage]]:
    if array.ndim != len(axes):
        raise TrainingError(f"{path} has {array.ndim} axes {tuple(array.shape)}, data.axes is {axes}: correct it")
    if "T" not in axes:
        yield stem, StoredImage(str(path), stem, OnDisk(array, None, "C" in axes))
        return
    for t in range(array.shape[0]):
        label = f"{path} time point {t}"
        yield f"{stem}-{t}", StoredImage(label, stem, OnDisk(array, t, "C" in axes), Moment(stem, t))


def open_tiff(path: Path) -> NDArray[Any]:
    """Read a TIFF file; raises a TrainingError that names it when that fails."""
    import tifffile

    try:
        image: NDArray[Any] = tifffile.imread(path)
    except (OSError, ValueError, KeyError, IndexError, struct.error, tifffile.TiffFileError) as error:
        raise TrainingError(f"{path} is no readable TIFF image: {error}") from error
    return np.asarray(image)


def write(path: Path, pixels: NDArray[Any]) -> None:
    """Write counts, ([c,] z, y, x), as a TIFF file that is either whole or not there.

    Raises
    ------
    TrainingError
        The disk refuses.
    """
    import tifffile

    fresh = path.with_name(f".{path.name}.new")
    try:
        tifffile.imwrite(fresh, pixels, photometric="minisblack", metadata={"axes": "CZYX"[-pixels.ndim :]})
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise TrainingError(f"cannot write {path}: {error.strerror or error}") from error


def read_psf(path: Path) -> NDArray[np.float32]:
    """Read a measured point spread function, ZYX TIFF.

    Raises
    ------
    TrainingError
        The file is missing, no image, has no three axes, or holds nothing bright.
    """
    pixels = np.asarray(open_tiff(path), np.float32)
    if pixels.ndim != 3 or not np.isfinite(pixels).all() or pixels.max() <= 0:
        raise TrainingError(f"{path} is no point spread function: wanted finite ZYX pixels, got {pixels.shape}")
    return pixels


def _open_zarr(path: Path) -> Any:
    """Return the full-resolution array of an OME-Zarr image, still on disk."""
    import zarr

    try:
        node = zarr.open(path, mode="r")
        while isinstance(node, zarr.Group):
            names = sorted([*node.array_keys(), *node.group_keys()])
            node = node["0" if "0" in names else names[0]]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise TrainingError(f"{path} is no readable Zarr image: {error}") from error
    return node


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


def read_volumes(path: Path) -> Iterator[tuple[tuple[int, int], NDArray[Any]]]:
    """Read a data set; yields time point and position of each volume, and its pixels, (c, z, y, x).

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
            yield (t, p), planes.reshape(n["C"], n["Z"], *planes.shape[1:])


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
