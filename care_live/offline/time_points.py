"""The units of offline work: time points of a recording, read and assembled as those of a live run are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from care_live.assemble import Assembler
from care_live.config import AssembleConfig
from care_live.images import Frame, PlaneIndex, RunEnded, RunStarted, Volume, VolumeKey
from care_live.recorded import Recording


class TimePoint(NamedTuple):
    """All channels of one stage position at one time: what is restored, stored and counted at once."""

    p: int
    t: int


class TimePoints:
    """The time points of a recording, position after position.

    Parameters
    ----------
    recording : stays open as long as this is used
    run_id : of the volumes
    """

    def __init__(self, recording: Recording, *, run_id: str) -> None:
        self._recording = recording
        self._run_id = run_id
        self._planes: dict[TimePoint, list[PlaneIndex]] = {}
        for index in sorted(recording.contents.order, key=lambda i: (i.p, i.t, i.c, i.z)):
            self._planes.setdefault(TimePoint(index.p, index.t), []).append(index)
        self.all = tuple(self._planes)
        self.at: dict[int, list[TimePoint]] = {}
        """Of each stage position, by time."""
        for one in self.all:
            self.at.setdefault(one.p, []).append(one)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names, by number."""
        return self._recording.contents.plan.channels

    @property
    def has_references(self) -> bool:
        """Whether any channel shows another one once more."""
        plan = self._recording.contents.plan
        return any(plan.twin_of(c) is not None for c in range(len(plan.channels)))

    def keys(self, time_point: TimePoint) -> list[VolumeKey]:
        """Return the volumes of a time point, one for each channel that was recorded; references show one once more."""
        found = {index.volume for index in self._planes[time_point]}
        return sorted(key for key in found if self._recording.contents.plan.twin_of(key.c) is None)

    def read(self, time_point: TimePoint) -> tuple[Volume, ...]:
        """Return all channels of one time point, assembled like a short run: what is missing is flagged.

        Raises
        ------
        SourceError
            A plane cannot be read; the message names it.
        """
        return self._assembled(time_point, self.keys(time_point))

    def references(self, time_point: TimePoint) -> tuple[Volume, ...]:
        """Return what shows channels of a time point once more, at full light; at most of them nothing.

        Raises
        ------
        SourceError
            A plane cannot be read; the message names it.
        """
        again = {index.volume for index in self._planes[time_point]} - set(self.keys(time_point))
        return self._assembled(time_point, sorted(again)) if again else ()

    def _assembled(self, time_point: TimePoint, keys: Sequence[VolumeKey]) -> tuple[Volume, ...]:
        plan = self._recording.contents.plan
        order = [index for index in self._planes[time_point] if index.volume in keys]
        stacks = {key: plan.stacks[key] for key in keys}
        assembler = Assembler(AssembleConfig(), admit=lambda _: True)
        assembler.take(RunStarted(self._run_id, replace(plan, stacks=stacks), self._recording.contents.summary))
        events: list[object] = []
        for arrival, index in enumerate(order):
            events += assembler.take(self._frame(arrival, index))
        events += assembler.take(RunEnded("finished", n_delivered=len(order)))
        volumes = [event for event in events if isinstance(event, Volume)]
        return tuple(sorted(volumes, key=lambda volume: volume.key.c))

    def _frame(self, arrival: int, index: PlaneIndex) -> Frame:
        stamp = self._recording.stamp(index)
        return Frame(
            self._run_id,
            arrival,
            index,
            self._recording.read_plane(index),
            host_time_ns=(stamp.elapsed_us or 0) * 1000,
            core_time_us=stamp.core_time_us,
            exposure_ms=stamp.exposure_ms,
        )
