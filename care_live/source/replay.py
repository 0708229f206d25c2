"""A recorded data set, played as if it were being acquired."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from care_live.config import ReplayConfig
from care_live.errors import ConfigError, SourceError
from care_live.images import Frame, Plan, PlaneIndex, RunEnded, RunStarted, SourceEvent, VolumeKey
from care_live.recorded import Contents, Recording, open_recording

NanosClock = Callable[[], int]
"""Monotonic nanoseconds."""


class Cue(NamedTuple):
    """One plane's turn."""

    recorded: PlaneIndex
    """Where it is in the recording."""
    played: PlaneIndex
    """Where it belongs in this run: later loops are later time points."""
    due_ns: int
    """Since the start of the run; 0 is at once."""


class ReplaySource:
    """Plays a recording at its recorded speed, at given planes per second, or as fast as it is read.

    Parameters
    ----------
    stored : volumes that an earlier session has: they are passed over, and take no time
    clock_ns : monotonic nanoseconds

    Raises
    ------
    ConfigError
        There is no data set, its axes are unknown, or the speed is *recorded* and the file has no times.
    SourceError
        The data set cannot be read.
    """

    def __init__(
        self,
        config: ReplayConfig,
        *,
        run_id: str,
        stored: Collection[VolumeKey] = frozenset(),
        clock_ns: NanosClock = time.monotonic_ns,
    ) -> None:
        self._recording = open_recording(config.path, axes=config.axes)
        self._run_id = run_id
        self._clock_ns = clock_ns
        self._plan = without(stored, looped_plan(self._recording.contents, config))
        try:
            due_ns = due_times(self._recording, config)
        except (ConfigError, SourceError):
            self._recording.close()
            raise
        self._cues = unplayed(cues(self._recording.contents, due_ns, n_loops=config.loops), stored)
        self._next = next(self._cues, None)
        self._start_ns: int | None = None
        self._n_delivered = 0
        self._stopped = threading.Event()
        self._ended = False

    def next_event(self, timeout_s: float) -> SourceEvent | None:
        if self._ended:
            return None
        if self._start_ns is None:
            self._start_ns = self._clock_ns()
            return RunStarted(self._run_id, self._plan, self._recording.contents.summary)
        if self._next is None or self._stopped.is_set():
            return self._end()
        early_s = (self._start_ns + self._next.due_ns - self._clock_ns()) / 1e9
        if early_s > 0 and (self._stopped.wait(min(early_s, timeout_s)) or early_s > timeout_s):
            return None
        try:
            return self._play(self._next)
        except SourceError as error:
            return self._end(str(error))

    def _play(self, cue: Cue) -> Frame:
        stamp = self._recording.stamp(cue.recorded)
        frame = Frame(
            run_id=self._run_id,
            arrival=self._n_delivered,
            index=cue.played,
            pixels=self._recording.read_plane(cue.recorded),
            host_time_ns=self._clock_ns(),
            core_time_us=stamp.core_time_us,
            exposure_ms=stamp.exposure_ms,
        )
        self._next = next(self._cues, None)
        self._n_delivered += 1
        return frame

    def _end(self, failure: str = "") -> RunEnded:
        self._ended = True
        if failure:
            return RunEnded("failed", failure, n_delivered=self._n_delivered)
        if self._next is None:
            return RunEnded("finished", n_delivered=self._n_delivered)
        return RunEnded("aborted", "replay was stopped", n_delivered=self._n_delivered)

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self.stop()
        self._recording.close()


def looped_plan(contents: Contents, config: ReplayConfig) -> Plan:
    """Return the plan of a recording played *loops* times; for ever is an endless plan."""
    plan = contents.plan
    if config.voxel_size_um is not None:
        plan = replace(plan, voxel_size_um=config.voxel_size_um)
    if config.loops == 0:
        return replace(plan, stacks={key: z for key, z in plan.stacks.items() if key.t == 0}, endless=True)
    n_t = n_time_points(contents.order)
    shifted = {
        VolumeKey(key.t + loop * n_t, key.p, key.c): z for loop in range(config.loops) for key, z in plan.stacks.items()
    }
    return replace(plan, stacks=shifted)


def without(stored: Collection[VolumeKey], plan: Plan) -> Plan:
    """Return what is left of a plan; an endless one stays as it is."""
    if plan.endless:
        return plan
    return replace(plan, stacks={key: planes for key, planes in plan.stacks.items() if key not in stored})


def n_time_points(order: Sequence[PlaneIndex]) -> int:
    return 1 + max(index.t for index in order)


def cues(contents: Contents, due_ns: Sequence[int], *, n_loops: int) -> Iterator[Cue]:
    """Yield every plane's turn; *n_loops* 0 is for ever.

    A loop takes as long as from its first to its last plane, and a mean step between two planes.
    """
    n_t = n_time_points(contents.order)
    loop_ns = due_ns[-1] + due_ns[-1] // max(1, len(due_ns) - 1)
    for loop in itertools.count() if n_loops == 0 else range(n_loops):
        for index, due in zip(contents.order, due_ns, strict=True):
            yield Cue(index, index._replace(t=index.t + loop * n_t), due + loop * loop_ns)


def unplayed(turns: Iterator[Cue], stored: Collection[VolumeKey]) -> Iterator[Cue]:
    """Yield the turns of what is not stored, as early as if the rest did not exist."""
    saved_ns = last_ns = 0
    passed_over = False
    for cue in turns:
        saved_ns += cue.due_ns - last_ns if passed_over else 0
        last_ns, passed_over = cue.due_ns, cue.played.volume in stored
        if not passed_over:
            yield cue._replace(due_ns=cue.due_ns - saved_ns)


def due_times(recording: Recording, config: ReplayConfig) -> list[int]:
    """Return when each plane is due, nanoseconds since the start of the run, never falling.

    Raises
    ------
    ConfigError
        Recorded speed is wanted but the file has no times.
    """
    order = recording.contents.order
    if config.speed == "fastest":
        return [0] * len(order)
    if config.speed == "recorded":
        return _recorded_times(recording, config)
    return [round(i * 1e9 / config.speed) for i in range(len(order))]


def _recorded_times(recording: Recording, config: ReplayConfig) -> list[int]:
    elapsed = [recording.stamp(index).elapsed_us for index in recording.contents.order]
    known = [time_us for time_us in elapsed if time_us is not None]
    if len(known) < len(elapsed) or max(known) == min(known):
        raise ConfigError(f"{config.path} has no recorded times; set speed to planes per second or 'fastest'")
    return [(latest - known[0]) * 1000 for latest in itertools.accumulate(known, max)]
