"""The folder that Micro-Manager's window saves an acquisition to, as image stack files or as separate image files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from care_live.errors import SourceError
from care_live.images import Counts
from care_live.recorded.ndtiff_index import INDEX_NAME
from care_live.recorded.tags import Places, stamp_of
from care_live.recorded.unbuffered import UnbufferedFile
from care_live.recorded.window_images import (
    StackHead,
    WindowImage,
    is_separate,
    is_separate_finished,
    is_stack,
    next_in_stack,
    places_of,
    separate_image,
    separate_summary,
    stack_head,
)

Format: TypeAlias = Literal["NDTiff", "image stack file", "separate image files"]
"""As Micro-Manager's window names them."""
_CLOSED_NAME = "comments.txt"
"""Micro-Manager writes it when it closes the data set."""


def format_here(folder: Path) -> Format | None:
    """Return in which format of Micro-Manager the files right in a folder are; None: no file there is such an image."""
    if (folder / INDEX_NAME).is_file():
        return "NDTiff"
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    if any(is_stack(name) for name in names):
        return "image stack file"
    return "separate image files" if any(map(is_separate, names)) else None


def format_of(folder: Path) -> Format | None:
    """Tell the same of a folder that may have one folder a position."""
    with os.scandir(folder) as entries:
        inner = list(entries)
    found = format_here(folder)
    return found or ("separate image files" if any(map(_has_separate, inner)) else None)


def _has_separate(entry: os.DirEntry[str]) -> bool:
    """Return whether this is a folder with such images; False for one that cannot be read."""
    try:
        if not entry.is_dir():
            return False
        with os.scandir(entry.path) as found:
            return any(is_separate(image.name) for image in found)
    except OSError:
        return False


class WindowFolder:
    """Finds the images of one data set one after the other; those that were whole before are not given again.

    Parameters
    ----------
    folder : of the data set
    """

    def __init__(self, folder: Path, format_name: Format) -> None:
        self.folder = folder
        self.format_name = format_name
        self.summary: dict[str, Any] = {}
        self._source = _Stacks(folder) if format_name == "image stack file" else _Separate(folder)
        self._file: UnbufferedFile | None = None

    @property
    def places(self) -> Places:
        """The numbering that the summary asks for."""
        return places_of(self.summary)

    @property
    def is_finished(self) -> bool:
        """Whether Micro-Manager has closed the data set."""
        return (self.folder / _CLOSED_NAME).is_file() and self._source.is_closed

    @property
    def unread(self) -> list[Path]:
        """Files of a closed data set with images that are not whole."""
        return self._source.unread

    def look(self) -> list[WindowImage]:
        """Return the images that are whole now and were not before.

        Raises
        ------
        SourceError
            A file is damaged, or holds no grey images.
        """
        found = self._source.look()
        self.summary = self.summary or self._source.summary
        return sorted(found, key=lambda image: (stamp_of(image.tags).elapsed_us or 0, image.index_at))

    def read(self, image: WindowImage) -> tuple[Counts, dict[str, Any]]:
        """Return the pixels of one image, (y, x), and its metadata.

        Raises
        ------
        SourceError
            It cannot be read.
        """
        if self._file is None or self._file.path != image.path:
            self._close_file()
            self._file = UnbufferedFile(image.path)
        try:
            return image.read(self._file), dict(image.tags)
        except SourceError:
            self._close_file()
            raise

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def close(self) -> None:
        self._close_file()
        self._source.close()


class _Stacks:
    """Image stack files: each is followed from header to header."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, UnbufferedFile] = {}
        self._heads: dict[Path, StackHead] = {}
        self._next_at: dict[Path, int] = {}
        self._n_found = 0
        self.summary: dict[str, Any] = {}

    def look(self) -> list[WindowImage]:
        found: list[WindowImage] = []
        for path in sorted(path for path in self._folder.iterdir() if is_stack(path.name)):
            if path not in self._files:
                self._files[path] = UnbufferedFile(path)
            try:
                for image in self._images(path, self._files[path]):
                    found.append(image)
            except SourceError:
                self._files.pop(path).close()  # opened anew the next time: a network's client may keep what it read
                if not found:
                    raise
        return found

    def _images(self, path: Path, file: UnbufferedFile) -> Iterator[WindowImage]:
        """Yield the images behind those that were found before."""
        if path not in self._heads:
            if (head := stack_head(file)) is None:
                return
            self._heads[path], self._next_at[path] = head, head.first_at
            self.summary = self.summary or head.summary
        while self._next_at[path]:
            image = next_in_stack(file, self._heads[path].kind, self._next_at[path], self._n_found)
            if image is None:
                return
            self._next_at[path] = image[1]
            self._n_found += 1
            yield image[0]

    @property
    def unread(self) -> list[Path]:
        """Files of which the writer has written more than can be read."""
        return [path for path, head in self._heads.items() if head.is_closed and self._next_at[path]]

    @property
    def is_closed(self) -> bool:
        heads = [stack_head(file) for file in self._files.values()]
        return bool(heads) and all(head is not None and head.is_closed for head in heads)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


class _Separate:
    """Separate image files, in the folder itself or in one folder a position."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, set[str]] = {}
        self._n_found = 0
        self.unread: list[Path] = []
        """Images that are not whole."""
        self.summary: dict[str, Any] = {}

    def look(self) -> list[WindowImage]:
        found: list[WindowImage] = []
        self.unread = []
        for path in self._unseen():
            try:
                with contextlib.closing(UnbufferedFile(path)) as file:
                    image = separate_image(file, self._n_found)
            except SourceError:
                if not found:
                    raise
                return found
            if image is None:
                self.unread.append(path)
            else:
                self._seen[path.parent].add(path.name)
                self._n_found += 1
                found.append(image)
        return found

    def _unseen(self) -> list[Path]:
        unseen = []
        for folder in (self._folder, *sorted(path for path in self._folder.iterdir() if path.is_dir())):
            seen = self._seen.get(folder, set())
            with os.scandir(folder) as entries:
                new = sorted(entry.name for entry in entries if entry.name not in seen and is_separate(entry.name))
            if new:
                self._seen[folder] = seen
                self.summary = self.summary or separate_summary(folder)
            unseen += [folder / name for name in new]
        return unseen

    @property
    def is_closed(self) -> bool:
        return bool(self._seen) and all(map(is_separate_finished, self._seen))

    def close(self) -> None:
        """Nothing stays open."""
