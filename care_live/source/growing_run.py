"""The run of one data set that is being written: first its plan, then each image as soon as it is whole."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from care_live.errors import FrameError, SourceError
from care_live.images import Counts, Frame, Plan, PlaneIndex, RunEnded, RunStarted, SourceEvent
from care_live.recorded.ndtiff import voxel_size_um
from care_live.recorded.recording import counts_dtype, names_of
from care_live.recorded.tags import Places, camera_of, number_of, stamp_of
from care_live.source.frame_recorder import EndReason
from care_live.source.growing_folder import GrowingData, ImageRef
from care_live.source.hardware_sequences import SequenceWatch
from care_live.source.mda_settings import intended

logger = logging.getLogger(__name__)


class GrowingRun:
    """Turns the images of a data set into the events of a run.

    Parameters
    ----------
    data : where the images come from
    run_id : of the events
    """

    def __init__(self, data: GrowingData, *, run_id: str) -> None:
        self.data = data
        self.plan: Plan | None = None
        """Known once the first image was read."""
        self.n_delivered = 0
        self._run_id = run_id
        self._waiting: deque[ImageRef] = deque()
        self._places = Places()
        self._sequences = SequenceWatch()
        self.n_dropped = 0
        """Planes that have no place."""
        self._last_entry_at = -1

    @property
    def n_planned(self) -> int:
        return self.plan.n_planes if self.plan else 0

    @property
    def has_all(self) -> bool:
        """Whether every planned plane was delivered."""
        return self.n_planned == self.n_delivered > 0

    @property
    def waits(self) -> bool:
        """Whether an image was found that was not read yet."""
        return bool(self._waiting)

    def look(self) -> bool:
        """Find the images that are whole now; return whether there are any that were never found before.

        Raises
        ------
        SourceError
            The data set cannot be read at present.
        """
        return self.add(self.data.look())

    def add(self, images: Sequence[ImageRef]) -> bool:
        """Take images that were found; return whether any was never found before."""
        self._waiting.extend(images)
        if not self._waiting or self._waiting[-1].index_at <= self._last_entry_at:
            return False
        self._last_entry_at = self._waiting[-1].index_at
        return True

    def read(self) -> list[SourceEvent]:
        """Read the next image; return the events that follow from it.

        Before the first one that is the plan alone, and nothing for a plane that has no place.

        Raises
        ------
        SourceError
            The image is not whole after all; it is found or read again.
        """
        image = self._waiting[0]
        try:
            if self.plan is None:
                return [self._begin(image)]
            pixels, tags = self.data.read(image)
        except SourceError:
            self._again()
            raise
        self._waiting.popleft()
        try:
            camera = camera_of(image.axes, tags)
            return self._frame(self._places.index_of(image.axes), pixels, tags, camera=camera)
        except FrameError as error:
            self.n_dropped += 1
            logger.warning("plane dropped folder=%s n=%d: %s", self.data.folder, self.n_dropped, error)
            return []

    def _frame(self, index: PlaneIndex, pixels: Counts, tags: dict[str, Any], *, camera: str) -> list[SourceEvent]:
        image_number = number_of(tags, "ImageNumber")
        counted = self._sequences.take(
            index, camera=camera, image_number=None if image_number is None else int(image_number)
        )
        stamp = stamp_of(tags)
        frame = Frame(
            run_id=self._run_id,
            arrival=self.n_delivered,
            index=index,
            pixels=pixels,
            host_time_ns=time.monotonic_ns(),
            core_time_us=stamp.core_time_us,
            exposure_ms=stamp.exposure_ms,
            sequence_id=counted.sequence_id,
        )
        self.n_delivered += 1
        return [*counted.ended, frame]

    def _again(self) -> None:
        """Read an image of NDTiff's index again, once it is found again; others stay where they are."""
        if self.data.format_name == "NDTiff":
            self._waiting.clear()

    def _begin(self, first: ImageRef) -> RunStarted:
        data = self.data
        pixels, tags = data.read(first)
        dtype = counts_dtype(pixels.dtype, data.folder)
        self._places, planned = data.places, intended(data.summary)
        self.plan = Plan(
            stacks=planned,
            shape_px=(pixels.shape[0], pixels.shape[1]),
            dtype=dtype,
            voxel_size_um=voxel_size_um(data.summary, tags),
            channels=_names("channel", self._places.channels, (key.c for key in planned)),
            positions=_names("position", self._places.positions, (key.p for key in planned)),
            interval_s=max(0.0, number_of(data.summary, "Interval_ms") or 0.0) / 1000,
        )
        return RunStarted(
            self._run_id, self.plan, {"format": data.format_name, "path": str(data.folder), **data.summary}
        )

    def end(self, reason: EndReason, detail: str = "") -> list[SourceEvent]:
        """Return the last events: a run of which planes could not be placed has failed."""
        if self.n_dropped and reason == "finished":
            reason = "failed"
        dropped = f"{self.n_dropped} planes could not be placed" if self.n_dropped else ""
        ended = RunEnded(reason, "; ".join(filter(None, (detail, dropped))), n_delivered=self.n_delivered)
        return [*self._sequences.close(), ended]


def _names(kind: str, known: tuple[str, ...], planned: Iterable[int]) -> tuple[str, ...]:
    """Return a name for each channel or position that is known or planned."""
    return names_of(kind, known, max(len(known), 1 + max(planned, default=0)))
