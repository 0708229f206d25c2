"""Which volumes a run should have by its plan and by its publisher's messages. Pure."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import cached_property

from care_live.images import Plan, VolumeKey
from care_live.publish.log import Series

MAX_UNPLANNED = 100_000
"""Volumes to request though no plan names them: a run that is resumed announces only what it still lacks."""


class AnnouncedVolumes:
    """What there should be of one run.

    Parameters
    ----------
    plan : all that is known of it
    n_positions, n_channels : how many there can be
    """

    def __init__(self, plan: Plan, n_positions: int, n_channels: int) -> None:
        self._plan, self._n_positions, self._n_channels = plan, n_positions, n_channels
        self.named: set[VolumeKey] = set()
        """Raw volumes that a message named."""

    def earlier(self, before: int, have: Set[VolumeKey]) -> Iterator[VolumeKey]:
        """Yield the volumes before a time point that are not here, planned or possible."""
        if self._plan.endless:
            keys: Iterable[VolumeKey] = (key._replace(t=t) for key in self._plan.stacks for t in range(before))
        else:
            every = itertools.product(range(before), range(self._n_positions), range(self._n_channels))
            unplanned = itertools.starmap(VolumeKey, itertools.islice(every, MAX_UNPLANNED))
            keys = itertools.chain((key for key in self._plan.stacks if key.t < before), unplanned)
        return (key for key in keys if key not in have)

    def following(self, have: Set[VolumeKey]) -> Iterator[VolumeKey]:
        """Yield for each position and channel the planned volume after the newest: it may be stored, unannounced."""
        newest = newest_of(have)
        found = (self.after(VolumeKey(newest.get(stream, -1), *stream)) for stream in self._streams)
        return (key for key in found if key is not None)

    def after(self, key: VolumeKey) -> VolumeKey | None:
        """Return the next planned volume of a position and channel; where nothing is planned, the next possible one."""
        if self._plan.endless or not self._plan.stacks:
            return key._replace(t=key.t + 1)
        times = self._times.get((key.p, key.c), [])
        at = bisect_right(times, key.t)
        return key._replace(t=times[at]) if at < len(times) else None

    def is_due(self, key: VolumeKey, newest: Mapping[Series, int]) -> bool:
        """Return whether a raw volume must exist: it was named, or a later one of its position and channel is here."""
        planned = key._replace(t=0) in self._plan.stacks if self._plan.endless else key in self._plan.stacks
        return key in self.named or (planned and newest.get((key.p, key.c), -1) > key.t)

    @property
    def begin(self) -> int:
        """The first planned time point: what is earlier was recorded before, if it is not 0."""
        return min((key.t for key in self._plan.stacks), default=0)

    @property
    def _streams(self) -> Iterable[Series]:
        return self._times or itertools.product(range(self._n_positions), range(self._n_channels))

    @cached_property
    def _times(self) -> dict[Series, list[int]]:
        times: dict[Series, list[int]] = {}
        for key in sorted(self._plan.stacks):
            times.setdefault((key.p, key.c), []).append(key.t)
        return times


def newest_of(keys: Iterable[VolumeKey]) -> dict[Series, int]:
    """Return the newest time point of every position and channel."""
    newest: dict[Series, int] = {}
    for key in keys:
        newest[key.p, key.c] = max(key.t, newest.get((key.p, key.c), -1))
    return newest
