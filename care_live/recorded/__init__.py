"""Recorded data sets, read plane by plane: NDTiff, OME-TIFF, plain TIFF, OME-Zarr.

Replay and offline restoration read through this one room; it knows files, not acquisitions.
"""

from __future__ import annotations

from pathlib import Path

from care_live.errors import ConfigError, SourceError
from care_live.recorded.recording import Contents, Recording, Stamp

__all__ = ["Contents", "Recording", "Stamp", "open_recording"]

_ZARR_MARKS = ("zarr.json", ".zgroup")


def open_recording(path: Path, *, axes: str | None = None) -> Recording:
    """Open a data set of any known kind.

    Parameters
    ----------
    path : a TIFF file, an NDTiff folder or an OME-Zarr folder
    axes : letters of TPCZYX, YX last; needed for plain TIFF stacks only

    Raises
    ------
    ConfigError
        There is nothing at *path*, or a plain TIFF's axes are not given.
    SourceError
        It is no image, or not one of camera counts.
    """
    if not path.exists():
        raise ConfigError(f"there is no data set at {path}")
    if path.is_file():
        return _open_tiff(path, axes)
    if any((path / mark).is_file() for mark in _ZARR_MARKS):
        from care_live.recorded.ome_zarr import OmeZarrRecording  # zarr is slow to import

        return OmeZarrRecording(path)
    from care_live.recorded.ndtiff import NDTiffRecording
    from care_live.recorded.ndtiff_index import INDEX_NAME

    if not any((folder / INDEX_NAME).is_file() for folder in (path, path / "Full resolution")):
        raise SourceError(f"{path} is neither an OME-Zarr nor an NDTiff folder; give one of these or a TIFF file")
    return NDTiffRecording(path)


def _open_tiff(path: Path, axes: str | None) -> Recording:
    from care_live.recorded.tiff import TiffRecording

    return TiffRecording(path, axes=axes)
