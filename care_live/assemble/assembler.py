"""The second stage: frames in, whole volumes out. No threads, no files, no clock but the one it is given."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Literal

from care_live.assemble.counts import AssemblyCounts
from care_live.assemble.sequences import Sequences
from care_live.assemble.stacks import ClosedVolumes, Planes, Stack, misfit, no_more_memory, planes_for
from care_live.assemble.volume_memory import VolumeMemory
from care_live.awake_clock import AwakeClock
from care_live.config import AssembleConfig
from care_live.errors import SourceError
from care_live.images import (
    Closed,
    Frame,
    RunEnded,
    RunStarted,
    SequenceEnded,
    SourceEvent,
    StateChanged,
    StillAcquiring,
    VolumeKey,
)
from care_live.open_volumes import AssemblyEvent, FrameDropped, VolumeOpened, VolumeRefused
from care_live.volume_set import VolumeSet

_DropReason = Literal[
    "duplicate", "late", "unplanned", "wrong-shape", "wrong-dtype", "wrong-run", "refused-volume", "stored"
]

_IDLE_PART = 4
"""At most this part of the memory for open volumes, a quarter, waits for the next volume."""


class Assembler:
    """Puts every plane at its place in its volume.

    A volume closes when all its planned planes came, when no plane of it came for ``deadline_s``, or when the
    run ends; never because another volume began. It is admitted or refused whole, at its first plane.

    Parameters
    ----------
    config : AssembleConfig
    admit : callable, bytes -> bool
        Called once for each volume (for each plane, where the plan has no number of planes); returns whether the
        stages downstream can take it. After True they count these bytes, and give them back.
    give_back : callable, bytes -> None
        Called with bytes that were admitted, and for which this machine has no memory.
    stored : collection of VolumeKey
        Volumes that an earlier session of the run has: their planes may come again, and are dropped.
    clock_ns : callable or None
        Monotonic nanoseconds, for the deadline; None: those in which this process did not stand still.
    wall_clock_ns : callable
        Nanoseconds since the epoch, for frames without the time at which the core received them.
    """

    def __init__(
        self,
        config: AssembleConfig,
        *,
        admit: Callable[[int], bool],
        give_back: Callable[[int], None] = lambda _: None,
        stored: Collection[VolumeKey] = (),
        clock_ns: Callable[[], int] | None = None,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._deadline_ns = int(config.deadline_s * 1e9)
        self._budget_bytes = config.memory_mib * 2**20
        self._memory = VolumeMemory(self._budget_bytes // _IDLE_PART)
        self._admit, self._give_back = admit, give_back
        self._clock_ns = clock_ns or AwakeClock()
        self._wall_clock_ns = wall_clock_ns
        self._run: RunStarted | None = None
        self._n_planned = 0
        self._open: dict[VolumeKey, Stack] = {}
        self._stored = VolumeSet(stored)
        self._closed = ClosedVolumes()
        self._came_again: set[VolumeKey] = set()
        self._sequences = Sequences()
        self._dropped: Counter[str] = Counter()
        self._tally: Counter[str] = Counter()

    def take(self, event: SourceEvent) -> list[AssemblyEvent]:
        """Take one event of the source; return what follows from it, in order.

        Raises
        ------
        SourceError
            A second run started before the first one ended.
        """
        match event:
            case RunStarted():
                return self._begin(event)
            case Frame():
                return self._place(event)
            case SequenceEnded():
                return self._changed(self._sequences.end(event))
            case StillAcquiring():
                return self._wait_on()
            case RunEnded():
                return self._finish(event)

    def tick(self) -> list[AssemblyEvent]:
        """Close the volumes whose deadline has passed."""
        due = self._clock_ns() - self._deadline_ns
        late = [stack for stack in self._open.values() if stack.touched_ns <= due]
        return [event for stack in late for event in self._close(stack, "deadline")]

    def _wait_on(self) -> list[AssemblyEvent]:
        """Give each open volume its whole deadline again."""
        for stack in self._open.values():
            stack.touched_ns = self._clock_ns()
        return []

    @property
    def counts(self) -> AssemblyCounts:
        """What became of the planes so far."""
        tally = self._tally
        plan = None if self._run is None else self._run.plan
        whole_plan = plan is not None and plan.stacks and not plan.endless
        return AssemblyCounts(
            planned=self._n_planned if whole_plan else tally["planned"],
            received=tally["received"],
            lost=tally["lost"],
            skipped=tally["skipped"],
            unacquired=tally["unacquired"],
            dropped=dict(self._dropped),
            already_stored=len(self._came_again),
            volumes=tally["volumes"],
            incomplete_volumes=tally["incomplete"],
            refused_volumes=tally["refused"],
            suspect_volumes=tally["suspect"],
            provisional_volumes=self._sequences.n_waiting,
            open_volumes=sum(stack.planes is not None for stack in self._open.values()),
            open_bytes=self._open_bytes(),
        )

    # -- a run begins and ends ------------------------------------------------------------------------------

    def _begin(self, started: RunStarted) -> list[AssemblyEvent]:
        if self._run is not None:
            raise SourceError(f"run {started.run_id} started while run {self._run.run_id} was going on; end it first")
        self._run = started
        stacks = started.plan.stacks
        self._n_planned = sum(len(planes) for key, planes in stacks.items() if key not in self._stored)
        return []

    def _finish(self, ended: RunEnded) -> list[AssemblyEvent]:
        events = [event for stack in list(self._open.values()) for event in self._close(stack, "run-end")]
        events += self._changed(self._sequences.cut_short())
        never_began = 0
        if self._run is not None and not self._run.plan.endless:
            stacks = self._run.plan.stacks
            known = (self._closed, self._stored)
            never_began = sum(len(planes) for key, planes in stacks.items() if not any(key in one for one in known))
        self._tally["lost" if ended.reason == "finished" else "unacquired"] += never_began
        refused = min(ended.n_refused, self._tally["lost"])  # they reached the tap, which skipped them
        self._tally["lost"] -= refused
        self._tally["skipped"] += refused
        return events

    # -- a plane --------------------------------------------------------------------------------------------

    def _place(self, frame: Frame) -> list[AssemblyEvent]:
        if self._run is None or frame.run_id != self._run.run_id:
            going_on = "no run has started" if self._run is None else f"this run is {self._run.run_id}"
            return [self._drop(frame, "wrong-run", f"the frame is of run {frame.run_id}; {going_on}")]
        events = self._changed(self._sequences.watch(frame))
        if (fault := misfit(frame, self._run.plan) or self._misplaced(frame)) is not None:
            return [*events, self._drop(frame, *fault)]
        stack = self._open.get(frame.index.volume)
        if stack is None:
            stack, opened = self._begin_volume(frame)
            events.append(opened)
        events += self._fill(stack, frame)
        if stack.complete:
            events += self._close(stack, "complete")
        return events

    def _misplaced(self, frame: Frame) -> tuple[_DropReason, str] | None:
        """Return why the frame's index has no place."""
        key, z = frame.index.volume, frame.index.z
        if key in self._stored:
            self._came_again.add(key)
            return "stored", f"an earlier session of the run stored volume {tuple(key)}"
        planned = self._planned(key)
        if (planned is not None and z not in planned) or (planned is None and self._plan_says(key)):
            return "unplanned", f"the plan has no plane z={z} in volume {tuple(key)}"
        if key in self._closed:
            if self._closed.lacked(key, z):
                return "late", f"volume {tuple(key)} closed without plane z={z}"
            return "duplicate", f"volume {tuple(key)} is closed and has plane z={z}"
        stack = self._open.get(key)
        if stack is not None and z in stack.received:
            stack.n_duplicates += 1
            return "duplicate", f"plane z={z} of volume {tuple(key)} came twice; the first is kept"
        return None

    def _begin_volume(self, frame: Frame) -> tuple[Stack, AssemblyEvent]:
        assert self._run is not None
        key, plan = frame.index.volume, self._run.plan
        planned = self._planned(key)
        nbytes = frame.pixels.nbytes * len(planned or (0,))
        room = self._room(lambda: planes_for(planned, plan, self._memory), nbytes)
        planes: Planes | None
        event: AssemblyEvent
        if isinstance(room, str):
            planes, event = None, VolumeRefused(key, room)
            self._tally["refused"] += 1
        else:
            planes, event = room, VolumeOpened(key, planned or (), plan.shape_px, plan.dtype)
        self._open[key] = stack = Stack(key, planned, planes, touched_ns=self._clock_ns())
        self._tally["planned"] += len(planned or ())
        return stack, event

    def _fill(self, stack: Stack, frame: Frame) -> list[AssemblyEvent]:
        stack.touched_ns = self._clock_ns()
        self._tally["planned"] += stack.planned is None
        if (refusal := self._no_memory(stack, frame)) is not None:
            if stack.planes is None:
                stack.received.add(frame.index.z)
            self._tally["skipped"] += 1
            return [self._drop(frame, "refused-volume", refusal)]
        assert stack.planes is not None
        stack.planes.put(frame.index.z, frame.pixels)
        wall_us = self._wall_clock_ns() // 1000 if frame.core_time_us is None else frame.core_time_us
        stack.note(frame, wall_us)
        self._tally["received"] += 1
        return [frame]

    def _no_memory(self, stack: Stack, frame: Frame) -> str | None:
        """Return why an open volume cannot take one more plane; only one of unknown depth needs memory for it."""
        if stack.planes is None:
            return f"volume {tuple(stack.key)} was refused at its first plane"
        if stack.planned is None and stack.received:
            room = self._room(stack.planes.grown, frame.pixels.nbytes)
            return room if isinstance(room, str) else None
        return None

    # -- a volume -------------------------------------------------------------------------------------------

    def _close(self, stack: Stack, closed: Closed) -> list[AssemblyEvent]:
        assert self._run is not None
        del self._open[stack.key]
        self._closed.add(stack.key, stack.missing)
        self._tally["lost"] += len(stack.missing)
        if stack.planes is None:
            return []
        state = self._sequences.judge(stack.key, stack.sequence_ids)
        self._tally["volumes"] += 1
        self._tally["incomplete"] += bool(stack.missing)
        self._tally["suspect"] += state == "suspect"
        return [stack.close(self._run.run_id, self._run.plan, closed=closed, state=state)]

    def _room(self, take: Callable[[], Planes], nbytes: int) -> Planes | str:
        """Return memory for a volume, or why there is none; it is taken once others have left theirs for it."""
        if (refusal := self._refusal(nbytes)) is not None:
            return refusal
        try:
            return take()
        except MemoryError:
            self._give_back(nbytes)
            return no_more_memory(nbytes)

    def _refusal(self, nbytes: int) -> str | None:
        """Return why there is no memory for `nbytes` more, or None when there is."""
        if self._open_bytes() + nbytes > self._budget_bytes:
            taken = f"{self._open_bytes() / 2**20:.0f} of {self._budget_bytes / 2**20:.0f} MiB"
            return f"{nbytes / 2**20:.1f} MiB asked, {taken} taken by open volumes; raise assemble.memory_mib"
        if not self._admit(nbytes):
            return f"{nbytes / 2**20:.1f} MiB asked, but volumes that are not yet stored fill the memory"
        return None

    def _open_bytes(self) -> int:
        return sum(stack.nbytes for stack in self._open.values())

    def _planned(self, key: VolumeKey) -> tuple[int, ...] | None:
        assert self._run is not None
        return self._run.plan.planes_of(key)

    def _plan_says(self, key: VolumeKey) -> bool:
        """Return whether the plan knows the volumes of this channel; one of every time point knows no references."""
        plan = None if self._run is None else self._run.plan
        return plan is not None and bool(plan.stacks) and not (plan.endless and plan.twin_of(key.c) is not None)

    def _drop(self, frame: Frame, reason: _DropReason, detail: str) -> FrameDropped:
        if reason != "stored":  # it has its place
            self._dropped[reason] += 1
        return FrameDropped(frame.index, reason, detail)

    def _changed(self, changes: list[StateChanged]) -> list[AssemblyEvent]:
        self._tally["suspect"] += sum(change.state == "suspect" for change in changes)
        return list(changes)
