"""The folder that Micro-Manager saves to: which data sets appear in it, and in which of its formats."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any, Protocol

from care_live.errors import SourceError
from care_live.images import Counts
from care_live.recorded.ndtiff import Files, places_for
from care_live.recorded.ndtiff_index import INDEX_NAME, ImageEntry
from care_live.recorded.tags import Places
from care_live.recorded.window_folder import Format, WindowFolder, format_here, format_of
from care_live.source.index_tail import IndexTail

_IMAGE_ENDS = frozenset((".czi", ".dcimg", ".ets", ".h5", ".hdf5", ".ims", ".lif", ".nd2", ".oif", ".oir", ".png",
                         ".raw", ".spe", ".stk", ".tf8", ".tif", ".tiff"))  # fmt: skip
"""How names of image files end, also of those that care_live can't follow."""
_FULL_RESOLUTION = "Full resolution"
"""Folder of a pyramid's own images."""


class ImageRef(Protocol):
    """An image that is whole, and its place in the data set."""

    @property
    def axes(self) -> dict[str, Any]:
        """Micro-Manager's axes."""

    @property
    def index_at(self) -> int:
        """Grows from image to image."""


class GrowingData(Protocol):
    """A data set that Micro-Manager is writing."""

    folder: Path
    """Of its files; of images without files, the title of their window."""

    @property
    def format_name(self) -> str:
        """As Micro-Manager's window names it."""

    @property
    def summary(self) -> dict[str, Any]:
        """Micro-Manager's summary of the data set; known once an image was read."""

    @property
    def places(self) -> Places:
        """The numbering that the summary defines."""

    @property
    def is_finished(self) -> bool:
        """Whether its writer has closed it."""

    def look(self) -> Sequence[Any]:
        """Return the images that can be read now and could not before, each an `ImageRef`."""

    def read(self, image: Any) -> tuple[Counts, dict[str, Any]]:
        """Return an image, (y, x), and its metadata; one that is not whole after all is given again."""

    def close(self) -> None:
        """Close its files."""


class GrowingNDTiff:
    """An NDTiff data set: its index is read while it grows."""

    format_name: Format = "NDTiff"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tail = IndexTail(folder / INDEX_NAME)
        self._files = Files(folder)

    @property
    def summary(self) -> dict[str, Any]:
        return self._files.summary

    @property
    def places(self) -> Places:
        return places_for(self.summary)

    @property
    def is_finished(self) -> bool:
        return self._tail.is_finished

    def look(self) -> list[ImageEntry]:
        return self._tail.read()

    def read(self, image: ImageEntry) -> tuple[Counts, dict[str, Any]]:
        try:
            return self._files.read(image)
        except SourceError:
            self._tail.go_back_to(image)  # its entry may have been met while it was being written
            raise

    def close(self) -> None:
        self._files.close()


def open_growing(folder: Path) -> GrowingData | None:
    """Return the data set in a folder; None while no program has begun to write one."""
    return _opened(folder, format_of(folder)) or _full_resolution(folder)


def _full_resolution(folder: Path) -> GrowingData | None:
    full = folder / _FULL_RESOLUTION
    return GrowingNDTiff(full) if (full / INDEX_NAME).is_file() else None


def _opened(folder: Path, format_name: Format | None) -> GrowingData | None:
    if format_name is None:
        return None
    return GrowingNDTiff(folder) if format_name == "NDTiff" else WindowFolder(folder, format_name)


def folders(folder: Path) -> set[Path]:
    """Return the folders right in a folder."""
    return {path for path in folder.iterdir() if path.is_dir()}


def with_images(folder: Path) -> set[Path]:
    """Return the image files right in a folder, and the folders there that have images: what is not to be followed."""
    inner = {path for path in folders(folder) if open_growing(path) is not None or any(_image_files(path))}
    return inner | set(_image_files(folder))


def all_new(folder: Path, old: Set[Path]) -> Iterator[GrowingData]:
    """Yield the data sets that have appeared in a folder: in its own files, or in folders that had none before.

    Separate image files lie in one folder a position: where such a folder is new, the data set is the one around it.
    """
    for new in sorted(folders(folder) - old):
        with contextlib.suppress(FileNotFoundError):
            if format_here(new) == "separate image files":
                yield WindowFolder(folder, "separate image files")
            elif (found := open_growing(new)) is not None:
                yield found
    own = _opened(folder, format_here(folder)) or _full_resolution(folder)
    if own is not None:
        yield own


def not_understood(folder: Path, old: Set[Path]) -> Path | None:
    """Return an image file that is new in the folder, or in a new one below it; None: every file was there before."""
    found = (path for new in (folder, *sorted(folders(folder) - old)) for path in _image_files(new))
    return next((path for path in found if path not in old), None)


def _image_files(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        yield from (path for path in sorted(folder.iterdir()) if is_image_file(path))


def is_image_file(path: Path) -> bool:
    """Return whether a file's name ends as those of images do."""
    return path.suffix.lower() in _IMAGE_ENDS and path.is_file()


def cannot_follow(path: Path) -> SourceError:
    """Return the error for images in an unknown format."""
    return SourceError(
        f"{path.parent} gets images ({path.name}) that cannot be followed: wanted a format of Micro-Manager 2's window "
        "(image stack file, separate image files or NDTiff). Choose one of these under Save Images and start both again"
    )


def no_whole_image(data: GrowingData) -> SourceError:
    """Return the error for a data set of a known format that gives no image."""
    return SourceError(
        f"{data.folder} has files in Micro-Manager's format {data.format_name!r}, but no image in them is whole: "
        "is the disk full, or is that an acquisition that broke off?"
    )
