"""Resuming a run that was interrupted: what is recorded already is not exposed to light again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count, product
from pathlib import Path
from typing import Any

from care_live.config import (
    AcquisitionConfig,
    Config,
    MicroManagerConfig,
    PymmcorePlusConfig,
    ReplayConfig,
    VirtualConfig,
)
from care_live.errors import StoreError
from care_live.images import Plan, RunEnded, RunStarted, SourceEvent, VolumeKey
from care_live.percentiles import Span
from care_live.source import Source, open_source
from care_live.source.micromanager import events_of
from care_live.source.replay import ReplaySource
from care_live.source.tap import planned
from care_live.store import RunReader, check_same_plan

logger = logging.getLogger(__name__)


def open_remaining(config: Config, run_id: str) -> Source:
    """Open the source for what the run still lacks.

    A microscope goes on from the first incomplete time point, a replay plays the volumes that are not stored.
    Other sources begin anew; what the store has is not stored twice. So pymmcore-plus exposes again what is recorded
    already, and a log line warns of it.

    Raises
    ------
    ConfigError, SourceError
        As `care_live.source.open_source`.
    StoreError
        The settings order another plan of the microscope than the one that the run began with; nothing is exposed.
    """
    source = config.source
    try:
        reader = RunReader(config.store.directory / run_id)
    except StoreError:
        return open_source(source, run_id=run_id)  # nothing to resume
    stored = frozenset(reader.keys("raw"))
    if isinstance(source, ReplayConfig):
        return ReplaySource(source, run_id=run_id, stored=stored)
    if isinstance(source, PymmcorePlusConfig) and stored:
        logger.warning("sequence begins anew: %d volumes that are stored are exposed again, then dropped", len(stored))
    if not isinstance(source, VirtualConfig | MicroManagerConfig):
        return open_source(source, run_id=run_id)
    check_same_plan(reader.plan, asked_of(source, reader.plan), reader.path)
    first = first_incomplete(source.acquisition, stored)
    if first >= source.acquisition.time_points:
        return NothingLeft(run_id, reader.plan, reader.summary)
    acquisition = source.acquisition.model_copy(update={"first_time_point": first})
    return open_source(source.model_copy(update={"acquisition": acquisition}), run_id=run_id)


def asked_of(source: VirtualConfig | MicroManagerConfig, before: Plan) -> Plan:
    """Return the plan that the settings ask a microscope for; what only its camera knows is as before."""
    acquisition = source.acquisition
    outline = planned(events_of(acquisition))
    return replace(
        before,
        stacks=outline.stacks,
        shape_px=source.shape_px if isinstance(source, VirtualConfig) else before.shape_px,
        channels=outline.places.channels,
        positions=outline.places.positions,
        voxel_size_um=(acquisition.z_step_um, acquisition.pixel_size_um, acquisition.pixel_size_um),
        interval_s=acquisition.interval_s,
    )


def first_incomplete(acquisition: AcquisitionConfig, stored: frozenset[VolumeKey]) -> int:
    """Return the first time point of which a volume is not stored."""
    places = list(product(range(len(acquisition.positions) or 1), range(len(acquisition.channels))))
    return next(t for t in count() if any(VolumeKey(t, p, c) not in stored for p, c in places))


def last_spans(run: Path) -> dict[tuple[int, int], Span]:
    """Return the intensity range of the newest restored volume of every position and channel.

    So a run that goes on does not flicker where it was interrupted.
    """
    reader = RunReader(run)
    made = {(key.p, key.c): reader.restoration(key) for key in reader.keys("restored")}
    return {place: Span(one.low, one.high) for place, one in made.items()}


class NothingLeft:
    """The source of a run whose every time point is recorded: it begins and ends."""

    def __init__(self, run_id: str, plan: Plan, summary: Mapping[str, Any]) -> None:
        self._events = self._give(RunStarted(run_id, replace(plan, stacks={}, endless=False), summary))

    def next_event(self, timeout_s: float) -> SourceEvent | None:
        return next(self._events, None)

    def stop(self) -> None:
        """Nothing goes on."""

    def close(self) -> None:
        """Nothing is open."""

    @staticmethod
    def _give(started: RunStarted) -> Iterator[SourceEvent]:
        yield started
        yield RunEnded("finished", "every time point was recorded before")
