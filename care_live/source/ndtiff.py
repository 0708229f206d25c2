"""Follows the NDTiff data set that Micro-Manager is writing, without touching the acquisition.

Micro-Manager's own window cannot be tapped from Python, but it writes each image before it appends the image's
index entry, so whatever is in the index can be read.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from care_live.config import NDTiffConfig
from care_live.errors import ConfigError, FrameError, SourceError
from care_live.images import Frame, Plan, PlaneIndex, RunEnded, RunStarted, SourceEvent
from care_live.recorded.ndtiff import INDEX_NAME, Entry, Files, entries, places_for, voxel_size_um
from care_live.recorded.recording import counts_dtype, every_index, stacks_of
from care_live.recorded.tags import number_of, stamp_of
from care_live.source.sequences import SequenceWatch

logger = logging.getLogger(__name__)

_LOOK_S = 0.05
"""How often the index is read; file systems of other machines tell of no change."""
_READ_BYTES = 1 << 20


class IndexTail:
    """Reads what is appended to an index, entry by entry."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._was_padded = False
        self.is_finished = False
        """The writer has cut the padding off, as Micro-Manager does at the end."""

    def read(self) -> list[Entry]:
        """Return the entries that are whole now and were not before; an index that is not there yet has none.

        Raises
        ------
        SourceError
            The index is broken.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read(_READ_BYTES)
        except FileNotFoundError:
            return []
        found = list(entries(data))
        end = found[-1][0] if found else 0
        self._position += end
        self.is_finished = self._was_padded and not data
        self._was_padded = self._was_padded or data[end : end + 4] == bytes(4)
        return [entry for _, entry in found]


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
        self._folder = config.directory if (config.directory / INDEX_NAME).is_file() else None
        self._tail = IndexTail(self._folder / INDEX_NAME) if self._folder else None
        self._waiting: deque[Entry] = deque()
        self._files: Files | None = None
        self._plan: Plan | None = None
        self._places = places_for({})
        self._sequences = SequenceWatch()
        self._ready: deque[SourceEvent] = deque()
        self._n_delivered = 0
        self._last_image = clock()
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
                self._waiting.extend(self._tail.read() if self._tail else self._find())
            return self._read_one() if self._waiting else self._quiet()
        except SourceError as error:
            return self._end("failed", str(error)) if self._is_idle() else None  # it may be half-written

    def _find(self) -> list[Entry]:
        """Look for a data set that was not there before."""
        new = sorted(data_sets(self._config.directory) - self._old)
        if not new:
            return []
        self._folder = new[0]
        self._tail = IndexTail(self._folder / INDEX_NAME)
        logger.info("following data set %s", self._folder)
        return self._tail.read()

    def _read_one(self) -> SourceEvent:
        entry = self._waiting[0]
        if self._files is None or self._plan is None:
            return self._begin(entry)
        pixels, tags = self._files.read_image(entry), self._files.read_tags(entry)
        self._waiting.popleft()
        self._last_image = self._clock()
        try:
            index = self._places.index_of(entry.axes)
        except FrameError as error:
            raise SourceError(f"{self._folder}: {error}") from error
        image_number = number_of(tags, "ImageNumber")
        sequence_id, ended = self._sequences.take(
            index, image_number=None if image_number is None else int(image_number)
        )
        stamp = stamp_of(tags)
        self._ready.extend(ended)
        self._ready.append(
            Frame(
                run_id=self._run_id,
                arrival=self._n_delivered,
                index=index,
                pixels=pixels,
                host_time_ns=time.monotonic_ns(),
                core_time_us=stamp.core_time_us,
                exposure_ms=stamp.exposure_ms,
                sequence_id=sequence_id,
            )
        )
        self._n_delivered += 1
        return self._ready.popleft()

    def _begin(self, first: Entry) -> RunStarted:
        assert self._folder is not None
        files = Files(self._folder)
        try:
            pixels, tags = files.read_image(first), files.read_tags(first)
        except SourceError:
            files.close()
            raise
        self._files = files
        self._places = places_for(files.summary)
        planned = intended(files.summary)
        self._plan = Plan(
            stacks=stacks_of(planned),
            shape_px=(pixels.shape[0], pixels.shape[1]),
            dtype=counts_dtype(pixels.dtype, self._folder),
            voxel_size_um=voxel_size_um(files.summary, tags),
            channels=self._places.channels,
            positions=tuple(f"position {p}" for p in range(1 + max((i.p for i in planned), default=0))),
            interval_s=(number_of(files.summary, "Interval_ms") or 0.0) / 1000,
        )
        return RunStarted(self._run_id, self._plan, {"format": "NDTiff", "path": str(self._folder), **files.summary})

    def _quiet(self) -> SourceEvent | None:
        """Nothing new: has the run ended?"""
        if self._plan is not None and self._plan.n_planes == self._n_delivered > 0:
            return self._end("finished")
        if self._tail is not None and self._tail.is_finished and self._n_delivered:
            return self._end("finished")
        if self._n_delivered and self._is_idle():
            return self._end("finished", f"no new image for {self._config.idle_s:g} s")
        return None

    def _is_idle(self) -> bool:
        return self._clock() - self._last_image > self._config.idle_s

    def _end(self, reason: Any, detail: str = "") -> SourceEvent:
        ended = RunEnded(reason, detail, n_delivered=self._n_delivered)
        self._ready.extend((*self._sequences.close(), ended))
        return self._ready.popleft()


def data_sets(folder: Path) -> set[Path]:
    """Return the NDTiff data sets right in a folder, and in the folders of their pyramids."""
    found = itertools.chain(folder.glob(f"*/{INDEX_NAME}"), folder.glob(f"*/Full resolution/{INDEX_NAME}"))
    return {index.parent for index in found}


def intended(summary: dict[str, Any]) -> tuple[PlaneIndex, ...]:
    """Return the planes that Micro-Manager's summary announces; empty where it announces none."""
    wanted = summary.get("IntendedDimensions")
    if not isinstance(wanted, dict) or not wanted:
        return ()
    return every_index({axis[0].upper(): int(n) for axis, n in wanted.items() if axis in _AXES and int(n) > 0})


_AXES = ("time", "position", "channel", "z")
