"""The units of offline work: time points of a recording, read and assembled as those of a live run are."""

from __future__ import annotations

import bisect
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from care_live.assemble import Assembler
from care_live.config import AssembleConfig
from care_live.errors import SourceError
from care_live.images import Frame, PlaneIndex, RunEnded, RunStarted, Volume, VolumeKey
from care_live.recorded import Recording

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
        self._recent: OrderedDict[TimePoint, tuple[Volume, ...]] = OrderedDict()
        """What was read last, where networks read earlier time points."""
        for index in sorted(recording.contents.order, key=lambda i: (i.p, i.t, i.c, i.z)):
            self._planes.setdefault(TimePoint(index.p, index.t), []).append(index)
        self.all = tuple(self._planes)
        self.at: dict[int, list[TimePoint]] = {}
        """Of each stage position, by time."""
        self._light_ms: list[tuple[float, float]] = []
        """Until each of the first of `all`, that one included: of planes, and of references."""
        for one in self.all:
            self.at.setdefault(one.p, []).append(one)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names, by number."""
        return self._recording.contents.plan.channels

    def has_reference(self, time_point: TimePoint) -> bool:
        """Tell whether any channel of a time point shows another one once more."""
        return len(self.keys(time_point)) < len(self.keys_with_references(time_point))

    def keys_with_references(self, time_point: TimePoint) -> list[VolumeKey]:
        """Return the volumes of a time point, and what shows them once more."""
        return sorted({index.volume for index in self._planes[time_point]})

    def keys(self, time_point: TimePoint) -> list[VolumeKey]:
        """Return the volumes of a time point, one for each channel that was recorded; references show one once more."""
        every = self.keys_with_references(time_point)
        return [key for key in every if self._recording.contents.plan.twin_of(key.c) is None]

    def read(self, time_point: TimePoint) -> tuple[Volume, ...]:
        """Return all channels of one time point, assembled like a short run: what is missing is flagged.

        Raises
        ------
        SourceError
            A plane cannot be read; the message names it.
        """
        return self._recent.get(time_point) or self._assembled(time_point, self.keys(time_point))

    def before(self, time_point: TimePoint, n: int) -> dict[VolumeKey, Volume]:
        """Return the volumes of the n time points before one, at the same stage position; not those that can't be read.

        These, and that time point, stay in memory until others are asked for.
        """
        p, t = time_point
        near = [one for one in (TimePoint(p, t - back) for back in range(n + 1)) if one in self._planes and n]
        recent: OrderedDict[TimePoint, tuple[Volume, ...]] = OrderedDict()
        for one in near:
            try:
                recent[one] = self.read(one)
            except SourceError as error:
                logger.warning("earlier time point not read time_point=%s reason=%s", tuple(one), error)
        self._recent = recent
        return {volume.key: volume for one, read in recent.items() if one != time_point for volume in read}

    def references(self, time_point: TimePoint) -> tuple[Volume, ...]:
        """Return what shows channels of a time point once more, at full light; at most of them nothing.

        Raises
        ------
        SourceError
            A plane cannot be read; the message names it.
        """
        first = self.keys(time_point)
        again = [key for key in self.keys_with_references(time_point) if key not in first]
        return self._assembled(time_point, again) if again else ()

    def light_until(self, time_point: TimePoint) -> tuple[float, float]:
        """Return how long all planes up to a time point were exposed, and their references; milliseconds.

        The recording says it, so it is the same wherever work was interrupted, and for each of several workers.
        """
        at = bisect.bisect_left(self.all, time_point)
        for one in self.all[len(self._light_ms) : at + 1]:
            before = self._light_ms[-1] if self._light_ms else (0.0, 0.0)
            light, again = self._light_of(one)
            self._light_ms.append((before[0] + light, before[1] + again))
        return self._light_ms[at]

    def _light_of(self, time_point: TimePoint) -> tuple[float, float]:
        light = [0.0, 0.0]
        for index in self._planes[time_point]:
            with contextlib.suppress(SourceError):  # it is reported where it was to be restored
                exposure_ms = self._recording.stamp(index).exposure_ms or 0.0
                light[self._recording.contents.plan.twin_of(index.c) is not None] += exposure_ms
        return light[0], light[1]

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
