"""Follows the NDTiff data set that Micro-Manager is writing, without touching the acquisition.

Micro-Manager's own window cannot be tapped from Python, but it writes each image before it appends the image's
index entry, so whatever is in the index can be read.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from care_live.config import NDTiffConfig
from care_live.errors import ConfigError, FrameError, SourceError
from care_live.images import Counts, Frame, Plan, PlaneIndex, RunEnded, RunStarted, SourceEvent, VolumeKey
from care_live.recorded.ndtiff import Files, places_for, voxel_size_um
from care_live.recorded.ndtiff_index import INDEX_NAME, ImageEntry
from care_live.recorded.recording import counts_dtype, every_index, names_of, stacks_of
from care_live.recorded.tags import camera_of, number_of, stamp_of
from care_live.source.hardware_sequences import SequenceWatch
from care_live.source.index_tail import IndexTail
from care_live.source.ndtiff_folder import data_sets, folders, other_images

logger = logging.getLogger(__name__)

_LOOK_S = 0.05
"""How often the index is read; file systems of other machines tell of no change."""
_OTHER_FORMAT_S = 5.0
"""Images are there for so long, and no data set that can be followed."""


class Follower:
    """One data set, from its first image; or the next one that appears in a folder.

    Raises
    ------
    ConfigError
        There is no such folder.
    """

    def __init__(
        self, config: NDTiffConfig, *, run_id: str, clock: Callable[[], float] = time.monotonic, look_s: float = _LOOK_S
    ) -> None:
        if not config.directory.is_dir():
            raise ConfigError(f"there is no folder {config.directory} to follow")
        self._config = config
        self._run_id = run_id
        self._clock = clock
        self._look_s = look_s
        self._old = data_sets(config.directory)
        self._old_folders = folders(config.directory)
        self._other_since: float | None = None
        self._folder = config.directory if (config.directory / INDEX_NAME).is_file() else None
        self._tail = IndexTail(self._folder / INDEX_NAME) if self._folder else None
        self._waiting: deque[ImageEntry] = deque()
        self._files: Files | None = None
        self._plan: Plan | None = None
        self._places = places_for({})
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
        if self._files is not None:
            self._files.close()

    def _step(self) -> SourceEvent | None:
        if self._ready:
            return self._ready.popleft()
        if self._stopped.is_set():
            return self._end("aborted", "following was stopped")
        try:
            if not self._waiting:
                self._look()
            return self._read_one() if self._waiting else self._quiet()
        except (SourceError, OSError) as error:  # a network disk may be away for a moment
            return self._end("failed", str(error)) if self._is_idle() else None  # it may be half-written

    def _look(self) -> None:
        self._waiting.extend(self._tail.read() if self._tail else self._find())
        if self._waiting and self._waiting[-1].index_at > self._last_entry_at:  # new, not read again
            self._last_entry_at = self._waiting[-1].index_at
            self._last_sign = self._clock()

    def _find(self) -> list[ImageEntry]:
        """Look for a data set that was not there before."""
        new = sorted(data_sets(self._config.directory) - self._old)
        if not new:
            return []
        self._folder = new[0]
        self._tail = IndexTail(self._folder / INDEX_NAME)
        self._last_sign = self._clock()
        logger.info("following data set %s", self._folder)
        return self._tail.read()

    def _unfollowable(self) -> SourceEvent | None:
        """End the run when images come that cannot be followed: to wait on would lose all of them."""
        other = other_images(self._config.directory, self._old_folders)
        if other is None:
            return None
        self._other_since = self._clock() if self._other_since is None else self._other_since
        return self._end("failed", str(other.error())) if self._clock() - self._other_since > _OTHER_FORMAT_S else None

    def _read_one(self) -> SourceEvent | None:
        entry = self._waiting[0]
        try:
            if self._files is None or self._plan is None:
                return self._begin(entry)
            pixels, tags = self._files.read(entry)
        except SourceError:
            assert self._tail is not None
            self._tail.go_back_to(entry)
            self._waiting.clear()
            raise
        self._waiting.popleft()
        self._last_sign = self._clock()
        try:
            camera = camera_of(entry.axes, tags)
            self._deliver(self._places.index_of(entry.axes), pixels, tags, camera=camera)
        except FrameError as error:
            self._n_dropped += 1
            logger.warning("plane dropped folder=%s n=%d: %s", self._folder, self._n_dropped, error)
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

    def _begin(self, first: ImageEntry) -> RunStarted:
        assert self._folder is not None
        files = Files(self._folder)
        try:
            pixels, tags = files.read(first)
            dtype = counts_dtype(pixels.dtype, self._folder)
        except SourceError:
            files.close()
            raise
        self._files = files
        self._places = places_for(files.summary)
        planned = intended(files.summary)
        self._plan = Plan(
            stacks=planned,
            shape_px=(pixels.shape[0], pixels.shape[1]),
            dtype=dtype,
            voxel_size_um=voxel_size_um(files.summary, tags),
            channels=_names("channel", self._places.channels, (key.c for key in planned)),
            positions=_names("position", self._places.positions, (key.p for key in planned)),
            interval_s=max(0.0, number_of(files.summary, "Interval_ms") or 0.0) / 1000,
        )
        return RunStarted(self._run_id, self._plan, {"format": "NDTiff", "path": str(self._folder), **files.summary})

    def _quiet(self) -> SourceEvent | None:
        """Nothing new: has the run ended?"""
        if self._tail is None:
            return self._unfollowable()
        if self._plan is not None and self._plan.n_planes == self._n_delivered > 0:
            return self._end("finished")
        if self._tail is not None and self._tail.is_finished and self._n_delivered:
            return self._end("finished")
        if self._n_delivered and self._is_idle():
            return self._end_idle()
        return None

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
