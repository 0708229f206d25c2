"""The exposures: the source of a run, whose volumes go to pairs of files instead of the daemon."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import numpy as np

from care_live.assemble import Assembler
from care_live.config import AssembleConfig
from care_live.errors import SourceError
from care_live.images import Plan, RunEnded, RunStarted, Volume
from care_live.open_volumes import AssemblyEvent
from care_live.prepare.exposed_pairs import PairFolder
from care_live.prepare.exposure_plan import ExposurePlan
from care_live.source import Source, open_source

logger = logging.getLogger(__name__)

_TICK_S = 0.2
_STOP_TICKS = 100
"""Waits of a tick for an acquisition that was ordered to end."""

OnPair = Callable[[int, int], None]
"""Called with the number of pairs that are there, and of all."""


def expose(
    plan: ExposurePlan,
    folder: PairFolder,
    *,
    on_pair: OnPair = lambda done, total: None,
    start: Callable[..., Source] = open_source,
) -> None:
    """Expose what is not there yet; on Ctrl-C the acquisition ends, and the pairs that came are kept.

    Raises
    ------
    ConfigError, SourceError
        The microscope cannot be started, or the acquisition failed.
    """
    done = n_whole_time_points(plan, folder)
    on_pair(done * plan.n_places, plan.n_pairs)
    if done == plan.acquisition.time_points:
        return
    source = start(plan.after(done), run_id="prepare")
    try:
        ended = _follow(source, PairWriter(plan, folder, on_pair))
    except KeyboardInterrupt:
        source.stop()
        _drain(source)
        raise
    finally:
        source.close()
    if ended.reason != "finished":
        raise SourceError(f"the acquisition of pairs {ended.reason}: {ended.detail or 'no reason is known'}")


def n_whole_time_points(plan: ExposurePlan, folder: PairFolder) -> int:
    """Return how many time points, from the first one on, have all their pairs."""
    there = set(folder.names)
    times = range(plan.acquisition.time_points)
    missing = (t for t in times if any(name_of(t, p) not in there for p in range(plan.n_places)))
    return next(missing, plan.acquisition.time_points)


def name_of(t: int, p: int) -> str:
    """Return the file name of a pair, without ending; names sort like the exposures."""
    return f"t{t:04d}-p{p:03d}"


class PairWriter:
    """Takes volumes, and writes each pair as soon as all volumes of it have come."""

    def __init__(self, plan: ExposurePlan, folder: PairFolder, on_pair: OnPair) -> None:
        self._plan, self._folder, self._on_pair = plan, folder, on_pair
        self._waiting: dict[tuple[int, int], dict[int, Volume]] = {}
        self._n_channels = len(plan.channels)
        self.run: Plan | None = None
        """What the source said that it will deliver."""

    @property
    def n_waiting(self) -> int:
        """Pairs of which some volumes are here."""
        return len(self._waiting)

    def take(self, volume: Volume) -> None:
        """Take a volume; one that lacks planes is left out, and its pair with it."""
        if volume.integrity.missing:
            logger.warning("pair incomplete key=%s missing=%d", tuple(volume.key), len(volume.integrity.missing))
            return
        place = volume.key.t, volume.key.p
        self._give_up_before(*place)
        volumes = self._waiting.setdefault(place, {})
        volumes[volume.key.c] = volume
        if len(volumes) < 2 * self._n_channels:
            return
        del self._waiting[place]
        self._folder.put(name_of(*place), *self._exposures(volumes))
        self._on_pair(len(self._folder.names), self._plan.n_pairs)

    def _give_up_before(self, t: int, p: int) -> None:
        """Drop what waits of earlier time points of a position: the exposures that it lacks will not come."""
        for place in [(before, at) for before, at in self._waiting if at == p and before < t]:
            del self._waiting[place]

    def _exposures(self, volumes: dict[int, Volume]) -> tuple[np.ndarray, np.ndarray]:
        """Return first and second exposures of a pair, (c, z, y, x); a channel's second exposure is its reference."""
        assert self.run is not None
        twins = {self.run.twin_of(c): volume for c, volume in volumes.items()}
        first = [volumes[c].pixels for c in sorted(volumes) if self.run.twin_of(c) is None]
        second = [twins[c].pixels for c in sorted(volumes) if self.run.twin_of(c) is None]
        return np.stack(first), np.stack(second)


def _follow(source: Source, writer: PairWriter) -> RunEnded:
    """Take the events of an acquisition to its end."""
    assembler = Assembler(AssembleConfig(), admit=lambda _: True)
    while True:
        event = source.next_event(_TICK_S)
        if isinstance(event, RunStarted):
            writer.run = event.plan
        for one in _volumes([*(assembler.take(event) if event is not None else ()), *assembler.tick()]):
            writer.take(one)
        if isinstance(event, RunEnded):
            return event


def _volumes(events: list[AssemblyEvent]) -> Iterator[Volume]:
    return (event for event in events if isinstance(event, Volume))


def _drain(source: Source) -> None:
    """Wait until an acquisition that was ordered to end has ended: its shutter is closed then."""
    for _ in range(_STOP_TICKS):
        if isinstance(source.next_event(_TICK_S), RunEnded):
            return
