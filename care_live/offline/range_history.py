"""The ranges that work has where it was interrupted, or is shared: those of work that went straight through."""

from __future__ import annotations

import bisect
import logging
from collections.abc import Sequence

from care_live.errors import RestoreError, SourceError
from care_live.images import VolumeKey
from care_live.offline.channel_engines import ChannelEngines, inputs
from care_live.offline.time_points import TimePoint, TimePoints
from care_live.restore.engine import Engine

logger = logging.getLogger(__name__)


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
