"""Recorded data sets, read plane by plane: Micro-Manager's three formats, OME-TIFF, plain TIFF, OME-Zarr.

Replay and offline restoration read through this room, which deals with files and not with acquisitions.
"""

from __future__ import annotations

from pathlib import Path

from care_live.errors import ConfigError, SourceError
from care_live.imports import need
from care_live.recorded.guarded import GuardedRecording, only_our_errors
from care_live.recorded.recording import Contents, Recording, Stamp, counts_dtype

__all__ = ["Contents", "Recording", "Stamp", "is_address", "is_data_set", "open_recording", "scene_in"]

_ZARR_MARKS = ("zarr.json", ".zgroup")
_PLUGINS = {".nd2": ("bioio_nd2", "formats"), ".czi": ("bioio_czi", "czi"), ".lif": ("bioio_lif", "formats")}
"""Of bioio, and the extras that bring them: that for CZI is under GPL-3, so it is an extra of its own."""
VENDOR_SUFFIXES = tuple(_PLUGINS)
"""Of the files of microscopes' makers that bioio's plugins read."""


def open_recording(path: Path | str, *, axes: str | None = None, any_numbers: bool = False) -> Recording:
    """Open a data set of any known kind.

    Parameters
    ----------
    path : a TIFF file, a file of a microscope's maker (ND2, CZI, LIF) or one scene of it (``project.lif/Series 3``), a
        folder that Micro-Manager saved to, or an OME-Zarr folder; as a string the address of an OME-Zarr elsewhere,
        such as ``s3://bucket/plate.zarr``
    axes : letters of TPCZYX, YX last; needed for plain TIFF stacks only. Or for several kinds of stacks, as
        ``"ZYX,TZYX"``
    any_numbers : take all numbers, not only uint8 and uint16: other ones no camera gives and no run can acquire

    Raises
    ------
    ConfigError
        Nothing lies at *path*, or the axes of a plain TIFF are not given.
    SourceError
        The file is not an image, or not one of camera counts, or it was cut or damaged. Reading a plane raises it, too.
    """
    if not is_address(path) and not scene_in(Path(path))[0].exists():
        raise ConfigError(f"there is no data set at {path}")
    with only_our_errors(str(path)):
        recording = _opened_there(str(path)) if is_address(path) else _opened(Path(path), axes)
        try:
            if not any_numbers:
                counts_dtype(recording.contents.pixels or recording.contents.plan.dtype, path)
        except SourceError:
            recording.close()
            raise
        return GuardedRecording(str(path), recording)


def is_data_set(path: Path) -> bool:
    """Return whether a path may be a data set, by its name and marks; a folder of data sets is not one."""
    if path.is_file():
        return path.suffix.lower() in (".tif", ".tiff", *VENDOR_SUFFIXES)
    if scene_in(path)[1]:
        return True
    from care_live.recorded.ndtiff_index import INDEX_NAME
    from care_live.recorded.window_folder import format_of

    marks = (*_ZARR_MARKS, f"Full resolution/{INDEX_NAME}")
    return path.is_dir() and (any((path / mark).is_file() for mark in marks) or format_of(path) is not None)


def scene_in(path: Path) -> tuple[Path, str]:
    """Return the file that a path names, and a scene in it, as in ``project.lif/Series 3``; empty: all its scenes."""
    if not path.exists():
        for file in path.parents:
            if file.suffix.lower() in VENDOR_SUFFIXES and file.is_file():
                return file, path.relative_to(file).as_posix()
    return path, ""


def is_address(path: Path | str) -> bool:
    """Tell whether a string names something that is no file: ``s3://bucket/plate.zarr``."""
    return isinstance(path, str) and "://" in path


def _opened_there(address: str) -> Recording:
    need("fsspec", extra="s3")
    if address.startswith("s3://"):
        need("s3fs", extra="s3")
    from care_live.recorded.ome_zarr import OmeZarrRecording

    return OmeZarrRecording(address)


def _opened(path: Path, axes: str | None) -> Recording:
    path, scene = scene_in(path)
    if path.is_file() and path.suffix.lower() in VENDOR_SUFFIXES:
        plugin, extra = _PLUGINS[path.suffix.lower()]
        bioio = need("bioio", extra=extra)
        need(plugin, extra=extra)
        from care_live.recorded.vendor_file import VendorRecording

        return VendorRecording(path, bioio, scene=scene)
    if path.is_file():
        from care_live.recorded.tiff import TiffRecording

        return TiffRecording(path, axes=axes)
    if any((path / mark).is_file() for mark in _ZARR_MARKS):
        from care_live.recorded.run_journal import run_of

        if (run := run_of(path)) is not None:
            from care_live.recorded.stored_run import StoredRunRecording

            return StoredRunRecording(run, position=int(path.name) if path.parent.name == "raw" else None)
        from care_live.recorded.ome_zarr import OmeZarrRecording  # zarr is slow to import

        return OmeZarrRecording(path)
    from care_live.recorded.ndtiff import NDTiffRecording
    from care_live.recorded.ndtiff_index import INDEX_NAME

    if any((folder / INDEX_NAME).is_file() for folder in (path, path / "Full resolution")):
        return NDTiffRecording(path)
    from care_live.recorded.window_folder import format_of
    from care_live.recorded.window_recording import WindowRecording

    if (format_name := format_of(path)) is None:
        raise SourceError(
            f"{path} is neither an OME-Zarr folder nor a data set of Micro-Manager (NDTiff, image stack file, separate "
            "image files); give one of these or a TIFF file"
        )
    return WindowRecording(path, format_name)
