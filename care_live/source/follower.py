"""Follows the data set that Micro-Manager is writing, in any of its window's formats, without touching the acquisition.

Micro-Manager's own window cannot be tapped from Python, but it writes files. Of what it has written only whole images
are read, each by its position in the file.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from care_live.config import FolderConfig
from care_live.errors import ConfigError, SourceError
from care_live.images import RunEnded, SourceEvent
from care_live.source.folder_notice import FolderNotice
from care_live.source.frame_recorder import EndReason
from care_live.source.growing_folder import (
    GrowingData,
    all_new,
    cannot_follow,
    folders,
    no_whole_image,
    not_understood,
    open_growing,
    with_images,
)
from care_live.source.growing_run import GrowingRun

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

    def __init__(self, config: FolderConfig, *, run_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        if not config.directory.is_dir():
            raise ConfigError(f"there is no folder {config.directory} to follow")
        self._config = config
        self._run_id = run_id
        self._clock = clock
        data = open_growing(config.directory)
        self._run = GrowingRun(data, run_id=run_id) if data else None
        self._old = set() if data else with_images(config.directory)
        if loose := sorted(path for path in self._old if path.is_file()):
            logger.warning(
                "waiting for a new data set: %s has images that cannot be followed: %s", *loose[0].parts[-2:]
            )
        self._notice = FolderNotice(config.directory, folders(config.directory))
        self._candidates: dict[Path, GrowingData] = {}
        """Data sets that have appeared and gave no image yet."""
        self._other_since: float | None = None
        self._ready: deque[SourceEvent] = deque()
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
            self._stopped.wait(min(left, _LOOK_S))
        return None

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self.stop()
        for data in {*self._candidates.values(), *((self._run.data,) if self._run else ())}:
            data.close()

    def _step(self) -> SourceEvent | None:
        if self._ready:
            return self._ready.popleft()
        if self._stopped.is_set():
            return self._end("aborted", "following was stopped")
        try:
            self._look()
            return self._read_one() if self._run and self._run.waits else self._quiet()
        except (SourceError, OSError) as error:  # a network disk may be unreachable for a moment
            return self._end("failed", str(error)) if self._is_hopeless() else None  # it may be half-written

    def _look(self) -> None:
        if self._run is None:
            self._find()
        elif not self._run.waits and self._run.look():
            self._last_sign = self._clock()

    def _find(self) -> None:
        """Follow the first data set that gives an image: other files may lie beside it."""
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
                self._run = GrowingRun(data, run_id=self._run_id)
                self._run.add(images)
                self._last_sign = self._clock()
                logger.info("following data set %s format=%s", data.folder, data.format_name)
                return
        if not self._candidates:  # one may have its files long before its first image
            self._notice.look(self._clock())
        if problem is not None:
            raise problem

    def _unfollowable(self) -> SourceEvent | None:
        """End the run when images come that cannot be followed: to wait on would lose all of them."""
        path = not_understood(self._config.directory, self._old)
        if path is None:
            return None
        self._other_since = self._clock() if self._other_since is None else self._other_since
        is_due = self._clock() - self._other_since > _OTHER_FORMAT_S
        return self._end("failed", str(cannot_follow(path))) if is_due else None

    def _read_one(self) -> SourceEvent | None:
        assert self._run is not None
        self._ready.extend(self._run.read())
        self._last_sign = self._clock()
        return self._ready.popleft() if self._ready else None

    def _quiet(self) -> SourceEvent | None:
        """Nothing new: has the run ended?"""
        run = self._run
        if run is None:
            return self._without_image() if self._candidates else self._unfollowable()
        if run.has_all:
            return self._end("finished")
        if run.n_delivered and run.data.is_finished:
            run.look()  # once more: what was written between the look before and the end
            return None if run.waits else self._end("finished")
        if run.n_delivered and self._is_idle():
            return self._end_idle(run)
        return None

    def _without_image(self) -> SourceEvent | None:
        """End the run where files have the right names, but no image; NDTiff has its index before the first image."""
        data = next((one for one in self._candidates.values() if one.format_name != "NDTiff"), None)
        return self._end("failed", str(no_whole_image(data))) if data is not None and self._is_hopeless() else None

    def _end_idle(self, run: GrowingRun) -> SourceEvent:
        silence = f"no new image for {self._limit_s():g} s"
        if run.n_planned > run.n_delivered:
            return self._end("stalled", f"{silence}; {run.n_delivered} of {run.n_planned} planned planes came")
        return self._end("finished", silence)

    def _limit_s(self) -> float:
        """Return how long the writer may be silent: between two time points it is."""
        plan = self._run.plan if self._run else None
        return self._config.idle_s + (plan.interval_s if plan else 0.0)

    def _is_idle(self) -> bool:
        return self._clock() - self._last_sign > self._limit_s()

    def _is_hopeless(self) -> bool:
        """Return whether an unreadable image has had enough time to become whole: less, where none ever was."""
        began = self._run is not None and self._run.n_delivered > 0
        limit_s = self._limit_s() if began else min(_UNDERSTOOD_S, self._limit_s())
        return self._clock() - self._last_sign > limit_s

    def _end(self, reason: EndReason, detail: str = "") -> SourceEvent:
        if self._run is None:
            return RunEnded(reason, detail)
        self._ready.extend(self._run.end(reason, detail))
        return self._ready.popleft()
