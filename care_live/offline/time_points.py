"""The units of offline work: time points of a recording, read and assembled as those of a live run are."""

from __future__ import annotations

import bisect
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from care_live.assemble import Assembler
from care_live.config import AssembleConfig
from care_live.errors import RestoreError, SourceError
from care_live.images import Frame, PlaneIndex, RunEnded, RunStarted, Volume, VolumeKey
from care_live.offline.channel_engines import ChannelEngines
from care_live.recorded import Recording
from care_live.restore.engine import Engine

logger = logging.getLogger(__name__)


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


class RangeHistory:
    """Brings an engine's ranges to where they are before a time point, whatever was restored before and where.

    A range follows the volumes before it (`care_live.restore.ranges`). Here these are measured, not restored, so that
    work that was interrupted, or that several processes share, has the ranges of work that went straight through.
    """

    def __init__(self, time_points: TimePoints) -> None:
        self._time_points = time_points
        self._next: dict[int, int] = {}
        """By position: how many of its time points the engine has learnt from."""

    def bring(self, engine: Engine | ChannelEngines, time_point: TimePoint) -> None:
        """Let the engine learn from all time points of this position before this one, as far as that matters."""
        of_position = self._time_points.at[time_point.p]
        n_earlier = bisect.bisect_left(of_position, time_point)
        keys = self._time_points.keys(time_point)
        known = self._next.get(time_point.p, 0)
        if known != n_earlier and engine.forgets_older_volumes:
            self._learn_last(engine, of_position[:n_earlier], keys)
        else:
            if known > n_earlier:
                engine.forget_ranges(time_point.p)
                known = 0
            for number in range(known, n_earlier):
                if engine.knows_range(keys):
                    break
                self._learn(engine, of_position[number])
        self._next[time_point.p] = n_earlier

    def restored(self, time_point: TimePoint) -> None:
        """Note that the engine restored a time point, and so learnt from it."""
        self._next[time_point.p] = self._next.get(time_point.p, 0) + 1

    def failed(self, engine: Engine | ChannelEngines, time_point: TimePoint) -> None:
        """Forget what is known of a position: the engine may have learnt from half of a time point."""
        engine.forget_ranges(time_point.p)
        self._next[time_point.p] = 0

    def _learn_last(
        self, engine: Engine | ChannelEngines, earlier: Sequence[TimePoint], keys: Sequence[VolumeKey]
    ) -> None:
        """Go back until every channel has a volume with signal, twice as far each time."""
        n_back, p = 1, keys[0].p
        while True:
            engine.forget_ranges(p)
            for one in earlier[-n_back:]:
                self._learn(engine, one)
            if n_back >= len(earlier) or engine.has_measured(keys):
                return
            n_back *= 2

    def _learn(self, engine: Engine | ChannelEngines, time_point: TimePoint) -> None:
        try:
            for group in inputs(self._time_points.read(time_point), engine):
                engine.learn(group)
        except (SourceError, RestoreError) as error:  # it is reported where it was to be restored
            logger.debug("nothing learnt time_point=%s reason=%s", tuple(time_point), error)


def inputs(channels: Sequence[Volume], engine: Engine | ChannelEngines) -> list[tuple[Volume, ...]]:
    """Return what the network takes at once: each channel alone, or all that it knows together.

    Raises
    ------
    RestoreError
        The time point has another number of channels than the network.
    """
    if isinstance(engine, ChannelEngines):
        return engine.inputs(channels)
    n_in = len(engine.card.channels_in)
    if n_in == 1:
        return [(volume,) for volume in channels]
    if len(channels) != n_in:
        raise RestoreError(
            f"network {engine.card.name} takes {n_in} channels ({', '.join(engine.card.channels_in)}) "
            f"but time point {channels[0].key.t} has {len(channels)}"
        )
    return [tuple(channels)]
