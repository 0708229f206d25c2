"""Resuming a run that was interrupted: what is recorded already is not exposed to light again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from care_live.config import SHOW_LIVE, Config, MicroManagerConfig, PymmcorePlusConfig, SourceConfig, VirtualConfig
from care_live.errors import StoreError
from care_live.images import Plan, RunEnded, RunStarted, SourceEvent
from care_live.percentiles import Span
from care_live.source import Source, open_source
from care_live.source.cameras import labels_among
from care_live.source.mda_sequence import outline_of_sequence, read_sequence
from care_live.source.micromanager import planned_events, steps_of
from care_live.source.outline import Outline, volumes_left
from care_live.source.reference_planes import with_references
from care_live.source.tap import planned
from care_live.store import RunReader, check_same_plan

logger = logging.getLogger(__name__)


def open_remaining(config: Config, run_id: str) -> Source:
    """Open the source for what the run still lacks.

    A useq sequence and a replay go on with the volumes that are not stored, the short form of an acquisition from the
    first incomplete time point. Other sources begin anew; what the store has is not stored twice. Where a source has
    one run after the other, only ``resume`` goes on with the first one; runs of an earlier daemon keep their names.

    Raises
    ------
    ConfigError, SourceError
        As `care_live.source.open_source`.
    StoreError
        The settings order another plan of the microscope than the one that the run began with; nothing is exposed.
    """
    source = config.source
    _hint(source)
    if source.kind in SHOW_LIVE:
        return open_source(source, run_id=run_id, is_taken=partial(_is_taken, config, run_id))
    return _open_rest(config, run_id)


def _open_rest(config: Config, run_id: str) -> Source:
    source = config.source
    try:
        reader = RunReader(config.store.directory / run_id)
    except StoreError:
        return open_source(source, run_id=run_id)  # nothing to resume
    stored = frozenset(reader.keys("raw"))
    if not isinstance(source, MicroscopeConfig):
        return open_source(source, run_id=run_id, stored=stored)
    asked = asked_of(source, reader.plan)
    if not asked.stacks:  # a sequence without an end
        return open_source(source, run_id=run_id)
    check_same_plan(reader.plan, asked, reader.path)
    left = volumes_left(asked.stacks, asked.channels, stored)
    if not left:
        return NothingLeft(run_id, reader.plan, reader.summary)
    if isinstance(source, PymmcorePlusConfig) or source.sequence is not None:
        return open_source(source, run_id=run_id, stored=stored)
    first = min(key.t for key in left)
    acquisition = source.acquisition.model_copy(update={"first_time_point": first})
    return open_source(source.model_copy(update={"acquisition": acquisition}), run_id=run_id)


def _is_taken(config: Config, run_id: str, name: str) -> bool:
    """Return whether a run has this name that is not to go on."""
    return not (config.resume and name == run_id) and (config.store.directory / name).exists()


MicroscopeConfig = VirtualConfig | MicroManagerConfig | PymmcorePlusConfig
"""Sources of which the settings are the plan."""


def _hint(source: SourceConfig) -> None:
    short = isinstance(source, VirtualConfig | MicroManagerConfig) and source.sequence is None
    if short and "acquisition" in source.model_fields_set:
        logger.info("plan=source.acquisition hint: source.sequence takes a whole useq.MDASequence, a file or its keys")


def asked_of(source: MicroscopeConfig, before: Plan) -> Plan:
    """Return the plan that the settings ask a microscope for; what only its cameras know is as before.

    Raises
    ------
    ConfigError
        Its sequence cannot be read, or pycromanager cannot run it.
    """
    outline = outline_of(source)
    if cameras := labels_among(before.channels, outline.places.channels):
        outline = outline.seen_by(cameras)
    asked = replace(
        before,
        stacks=outline.stacks,
        channels=outline.places.channels,
        positions=outline.places.positions,
    )
    if isinstance(source, PymmcorePlusConfig):
        _, *pixel_um = before.voxel_size_um
        return replace(asked, voxel_size_um=(outline.z_step_um or 1.0, pixel_um[0], pixel_um[1]))
    shape_px = source.shape_px if isinstance(source, VirtualConfig) else before.shape_px
    return replace(asked, shape_px=shape_px, **steps_of(source, outline))


def outline_of(source: MicroscopeConfig) -> Outline:
    """Return what the settings order; see `asked_of`."""
    if isinstance(source, PymmcorePlusConfig):
        return outline_of_sequence(with_references(read_sequence(source.sequence), source.reference))
    return planned(planned_events(source))


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
