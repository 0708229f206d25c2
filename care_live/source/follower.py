"""Follows the data set that Micro-Manager is writing, in any of its window's formats, without touching the acquisition.

Micro-Manager's own window cannot be tapped from Python, but it writes files. Of what it has written only whole images
are read, each by its position in the file.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from care_live.config import FolderConfig
from care_live.errors import ConfigError, FrameError, SourceError
from care_live.images import Counts, Frame, Plan, PlaneIndex, RunEnded, RunStarted, SourceEvent, VolumeKey
from care_live.recorded.ndtiff import voxel_size_um
from care_live.recorded.recording import counts_dtype, every_index, names_of, stacks_of
from care_live.recorded.tags import Places, camera_of, number_of, stamp_of
from care_live.source.growing_folder import (
    GrowingData,
    ImageRef,
    all_new,
    cannot_follow,
    no_whole_image,
    not_understood,
    open_growing,
    with_images,
)
from care_live.source.hardware_sequences import SequenceWatch

logger = logging.getLogger(__name__)

_LOOK_S = 0.05
"""How often the files are read; network file systems report no changes."""
_UNDERSTOOD_S = 8.0
"""Files that have existed for this long without a readable image end the run."""
_OTHER_FORMAT_S = 5.0
"""Images that have existed for this long without a data set that can be followed end the run."""


class Follower:
    """One data set, from its first image; or the next one that appears in a folder.

    Raises
    ------
    ConfigError
        There is no such folder.
    """

    def __init__(
        self, config: FolderConfig, *, run_id: str, clock: Callable[[], float] = time.monotonic, look_s: float = _LOOK_S
    ) -> None:
        if not config.directory.is_dir():
            raise ConfigError(f"there is no folder {config.directory} to follow")
        self._config = config
        self._run_id = run_id
        self._clock = clock
        self._look_s = look_s
        self._data: GrowingData | None = open_growing(config.directory)
        self._old = set() if self._data else with_images(config.directory)
        if loose := sorted(path for path in self._old if path.is_file()):
            logger.warning(
                "waiting for a new data set: %s has images that cannot be followed: %s", *loose[0].parts[-2:]
            )
        self._candidates: dict[Path, GrowingData] = {}
        """Data sets that have appeared and gave no image yet."""
        self._other_since: float | None = None
        self._waiting: deque[ImageRef] = deque()
        self._plan: Plan | None = None
        self._places = Places()
        self._sequences = SequenceWatch()
        self._ready: deque[SourceEvent] = deque()
        self._n_delivered = 0
        self._n_dropped = 0
        self._last_entry_at = -1
        self._last_sign = clock()
        self._stopped = threading.Event()
        self._ended = False

    def next_event(self, timeout_s: float) -> SourceEvent | None:
        deadline = self._clock() + timeout_s
        while not self._ended:
            event = self._step()
            if event is not None:
                self._ended = isinstance(event, RunEnded)
                return event
            left = deadline - self._clock()
            if left <= 0:
                return None
            self._stopped.wait(min(left, self._look_s))
        return None

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self.stop()
        for data in (self._data, *self._candidates.values()):
            if data is not None:
                data.close()

    def _step(self) -> SourceEvent | None:
        if self._ready:
            return self._ready.popleft()
        if self._stopped.is_set():
            return self._end("aborted", "following was stopped")
        try:
            if not self._waiting:
                self._look()
            return self._read_one() if self._waiting else self._quiet()
        except (SourceError, OSError) as error:  # a network disk may be unreachable for a moment
            return self._end("failed", str(error)) if self._is_hopeless() else None  # it may be half-written

    def _look(self) -> None:
        self._waiting.extend(self._data.look() if self._data else self._find())
        if self._waiting and self._waiting[-1].index_at > self._last_entry_at:  # new, not read again
            self._last_entry_at = self._waiting[-1].index_at
            self._last_sign = self._clock()

    def _find(self) -> Sequence[ImageRef]:
        """Return the first images of the first data set that gives any: other files may lie beside it."""
        for new in all_new(self._config.directory, self._old):
            if not self._candidates:
                self._last_sign = self._clock()
            self._candidates.setdefault(new.folder, new)
        problem: SourceError | None = None
        for data in self._candidates.values():
            try:
                images = data.look()
            except SourceError as error:
                problem = problem or error
                continue
            if images:
                self._data = data
                logger.info("following data set %s format=%s", data.folder, data.format_name)
                return images
        if problem is not None:
            raise problem
        return ()

    def _unfollowable(self) -> SourceEvent | None:
        """End the run when images come that cannot be followed: to wait on would lose all of them."""
        path = not_understood(self._config.directory, self._old)
        if path is None:
            return None
        self._other_since = self._clock() if self._other_since is None else self._other_since
        is_due = self._clock() - self._other_since > _OTHER_FORMAT_S
        return self._end("failed", str(cannot_follow(path))) if is_due else None

    def _read_one(self) -> SourceEvent | None:
        image = self._waiting[0]
        assert self._data is not None
        try:
            if self._plan is None:
                return self._begin(self._data, image)
            pixels, tags = self._data.read(image)
        except SourceError:
            self._again()
            raise
        self._waiting.popleft()
        self._last_sign = self._clock()
        try:
            camera = camera_of(image.axes, tags)
            self._deliver(self._places.index_of(image.axes), pixels, tags, camera=camera)
        except FrameError as error:
            self._n_dropped += 1
            logger.warning("plane dropped folder=%s n=%d: %s", self._data.folder, self._n_dropped, error)
            return None
        return self._ready.popleft()

    def _deliver(self, index: PlaneIndex, pixels: Counts, tags: dict[str, Any], *, camera: str) -> None:
        image_number = number_of(tags, "ImageNumber")
        counted = self._sequences.take(
            index, camera=camera, image_number=None if image_number is None else int(image_number)
        )
        stamp = stamp_of(tags)
        self._ready.extend(counted.ended)
        self._ready.append(
            Frame(
                run_id=self._run_id,
                arrival=self._n_delivered,
                index=index,
                pixels=pixels,
                host_time_ns=time.monotonic_ns(),
                core_time_us=stamp.core_time_us,
                exposure_ms=stamp.exposure_ms,
                sequence_id=counted.sequence_id,
            )
        )
        self._n_delivered += 1

    def _again(self) -> None:
        """Read an image of NDTiff's index again, once it is found again; others stay where they are."""
        if self._data is not None and self._data.format_name == "NDTiff":
            self._waiting.clear()

    def _begin(self, data: GrowingData, first: ImageRef) -> RunStarted:
        pixels, tags = data.read(first)
        dtype = counts_dtype(pixels.dtype, data.folder)
        self._places, planned = data.places, intended(data.summary)
        self._plan = Plan(
            stacks=planned,
            shape_px=(pixels.shape[0], pixels.shape[1]),
            dtype=dtype,
            voxel_size_um=voxel_size_um(data.summary, tags),
            channels=_names("channel", self._places.channels, (key.c for key in planned)),
            positions=_names("position", self._places.positions, (key.p for key in planned)),
            interval_s=max(0.0, number_of(data.summary, "Interval_ms") or 0.0) / 1000,
        )
        return RunStarted(
            self._run_id, self._plan, {"format": data.format_name, "path": str(data.folder), **data.summary}
        )

    def _quiet(self) -> SourceEvent | None:
        """Nothing new: has the run ended?"""
        if self._data is None:
            return self._without_image() if self._candidates else self._unfollowable()
        if self._plan is not None and self._plan.n_planes == self._n_delivered > 0:
            return self._end("finished")
        if self._n_delivered and self._data.is_finished:
            self._look()  # once more: what was written between the look before and the end
            return None if self._waiting else self._end("finished")
        if self._n_delivered and self._is_idle():
            return self._end_idle()
        return None

    def _without_image(self) -> SourceEvent | None:
        """End the run where files have the right names, but no image; NDTiff has its index before the first image."""
        data = next((one for one in self._candidates.values() if one.format_name != "NDTiff"), None)
        return self._end("failed", str(no_whole_image(data))) if data is not None and self._is_hopeless() else None

    def _end_idle(self) -> SourceEvent:
        silence = f"no new image for {self._limit_s():g} s"
        n_planned = self._plan.n_planes if self._plan else 0
        if n_planned > self._n_delivered:
            return self._end("stalled", f"{silence}; {self._n_delivered} of {n_planned} planned planes came")
        return self._end("finished", silence)

    def _limit_s(self) -> float:
        """Return how long the writer may be silent: between two time points it is."""
        return self._config.idle_s + (self._plan.interval_s if self._plan else 0.0)

    def _is_idle(self) -> bool:
        return self._clock() - self._last_sign > self._limit_s()

    def _is_hopeless(self) -> bool:
        """Return whether an unreadable image has had enough time to become whole: less, where none ever was."""
        limit_s = self._limit_s() if self._n_delivered else min(_UNDERSTOOD_S, self._limit_s())
        return self._clock() - self._last_sign > limit_s

    def _end(self, reason: Any, detail: str = "") -> SourceEvent:
        if self._n_dropped and reason == "finished":
            reason = "failed"
        dropped = f"{self._n_dropped} planes could not be placed" if self._n_dropped else ""
        ended = RunEnded(reason, "; ".join(filter(None, (detail, dropped))), n_delivered=self._n_delivered)
        self._ready.extend((*self._sequences.close(), ended))
        return self._ready.popleft()


def _names(kind: str, known: tuple[str, ...], planned: Iterable[int]) -> tuple[str, ...]:
    """Return a name for each channel or position that is known or planned."""
    return names_of(kind, known, max(len(known), 1 + max(planned, default=0)))


def intended(summary: dict[str, Any]) -> dict[VolumeKey, tuple[int, ...]]:
    """Return the stacks that Micro-Manager's summary announces; empty where it announces none, or too many.

    A time-lapse that its user means to stop by hand is announced as some hundred thousand time points.
    """
    wanted = summary.get("IntendedDimensions")
    if not isinstance(wanted, dict):
        return {}
    counts = {axis: number_of(wanted, axis) or 0.0 for axis in _AXES}
    n = {axis[0].upper(): int(count) for axis, count in counts.items() if count >= 1}
    if not n or math.prod(n.values()) > _MAX_PLANNED:
        return {}
    return stacks_of(every_index(n))


_AXES = ("time", "position", "channel", "z")
_MAX_PLANNED = 1 << 20
"""Planes; a plan of more is not held in memory."""
