"""A finished acquisition of Micro-Manager's window, in image stack files or in separate image files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from care_live.errors import FrameError, SourceError
from care_live.images import Counts, Plan, PlaneIndex
from care_live.recorded.ndtiff import voxel_size_um
from care_live.recorded.recording import Contents, Stamp, counts_dtype, stacks_of
from care_live.recorded.tags import number_of, stamp_of
from care_live.recorded.window_folder import Format, WindowFolder
from care_live.recorded.window_images import WindowImage

logger = logging.getLogger(__name__)


class WindowRecording:
    """The images of one folder.

    Raises
    ------
    SourceError
        There are no images, one is in colour or damaged, or its axes are invalid.
    """

    def __init__(self, folder: Path, format_name: Format) -> None:
        self._folder = WindowFolder(folder, format_name)
        try:
            found = self._folder.look()
            if not found:
                raise SourceError(f"{folder} holds no image that is whole")
            if self._folder.unread:
                raise SourceError(
                    f"{self._folder.unread[0]} was cut: {len(found)} images of {folder} are whole. "
                    "Copy the data set again from where it was recorded"
                )
            _refuse_unlike(found)
            self._images = self._placed(found)
            self.contents = self._describe(found[0])
        except SourceError:
            self._folder.close()
            raise

    def _placed(self, found: list[WindowImage]) -> dict[PlaneIndex, WindowImage]:
        self._places = self._folder.places
        try:
            placed = {self._places.index_of(image.axes): image for image in found}
        except FrameError as error:
            raise SourceError(f"{self._folder.folder}: {error}") from error
        if len(placed) < len(found):
            logger.warning("planes written twice n=%d: the later one counts", len(found) - len(placed))
        return placed

    def _describe(self, first: WindowImage) -> Contents:
        summary: dict[str, Any] = self._folder.summary
        plan = Plan(
            stacks=stacks_of(self._images),
            shape_px=(first.height_px, first.width_px),
            dtype=counts_dtype(first.dtype.newbyteorder("="), self._folder.folder),
            voxel_size_um=voxel_size_um(summary, dict(first.tags)),
            channels=self._places.channels,
            positions=self._places.positions,
            interval_s=max(0.0, number_of(summary, "Interval_ms") or 0.0) / 1000,
        )
        about = {"format": self._folder.format_name, "path": str(self._folder.folder)}
        return Contents(plan, tuple(self._images), {**about, **summary})

    def read_plane(self, index: PlaneIndex) -> Counts:
        return self._folder.read(self._images[index])[0]

    def stamp(self, index: PlaneIndex) -> Stamp:
        return stamp_of(self._images[index].tags)

    def close(self) -> None:
        self._folder.close()


def _refuse_unlike(found: list[WindowImage]) -> None:
    first = found[0]
    for image in found:
        if (image.height_px, image.width_px, image.dtype) != (first.height_px, first.width_px, first.dtype):
            raise SourceError(
                f"{image.path} holds an image of {image.height_px} x {image.width_px} px ({image.dtype}); wanted "
                f"{first.height_px} x {first.width_px} ({first.dtype}) as the first of the data set"
            )
