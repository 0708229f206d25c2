"""A ``useq.MDASequence`` as the plan: the acquisition that pymmcore-plus, napari-micromanager and others describe.

Read from a file or out of the config; its events in Micro-Manager's words, for pycromanager; and what is left of them
when a run goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from care_live.config import Channel, Position, VirtualConfig
from care_live.errors import ConfigError
from care_live.images import VolumeKey
from care_live.imports import need
from care_live.source.outline import Outline, outline_of
from care_live.source.useq_axes import UseqEvent, axes_and_height

Sequence: TypeAlias = Any
"""useq.MDASequence."""

_FORMER_KEYS = frozenset({"uid", "row", "col"})
"""Keys that useq takes, but has no field for."""
_MAX_EVENTS = 2_000_000
"""A sequence with more has no end: its plan is not known."""


def read_sequence(given: Path | Mapping[str, Any]) -> Sequence:
    """Return a useq sequence: from YAML or JSON, or as the config has it.

    Raises
    ------
    ConfigError
        The sequence is missing, useq cannot read it, or it has a key that useq would ignore.
    """
    useq = need("useq", extra="mm")
    what = f"sequence {given}" if isinstance(given, Path) else "source.sequence"
    try:
        keys = _keys_of(given) if isinstance(given, Path) else given
        sequence = useq.MDASequence.from_file(given) if isinstance(given, Path) else useq.MDASequence(**given)
    except OSError as error:
        raise ConfigError(f"cannot read {what}: {error.strerror or error}") from error
    except Exception as error:
        raise ConfigError(f"{what} is not a useq sequence: {' '.join(str(error).split())[:300]}") from error
    for unknown, known in _ignored(keys, sequence):
        raise ConfigError(f"{what} has an unknown key {unknown!r}; useq has there {known}")
    return sequence


def _keys_of(path: Path) -> object:
    """Return what a YAML or JSON file holds; JSON is YAML, too."""
    return need("yaml", extra="mm").safe_load(path.read_bytes())


def _ignored(given: object, read: object, at: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the keys that useq has ignored, with the ones that it knows there.

    Parameters
    ----------
    given : what was written
    read : what useq has made of it, a model where it knows keys
    at : where `given` stands
    """
    fields = getattr(type(read), "model_fields", None)
    if isinstance(given, Mapping) and fields is not None:
        for key, value in given.items():
            if key not in fields and key not in _FORMER_KEYS:
                yield f"{at}{key}", sorted(fields)
            yield from _ignored(value, getattr(read, str(key), None), f"{at}{key}.")
    elif isinstance(given, list | tuple):
        made = getattr(read, "phases", read)  # a list of time plans is one plan with phases
        if isinstance(made, list | tuple):
            for number, (value, one) in enumerate(zip(given, made, strict=False)):
                yield from _ignored(value, one, f"{at}{number}.")


def planned(sequence: Iterable[UseqEvent]) -> list[UseqEvent]:
    """Return the events that acquire an image; none when there is no end to them."""
    events: list[UseqEvent] = []
    for event in sequence:
        if len(events) == _MAX_EVENTS:
            return []
        if event.action.type == "acquire_image":
            events.append(event)
    return events


def outline_of_sequence(sequence: Iterable[UseqEvent], *, cameras: Collection[str] = ()) -> Outline:
    """Read what a sequence will deliver.

    Raises
    ------
    ConfigError
        Two of its events are the same plane.
    """
    outline = outline_of(map(axes_and_height, planned(sequence)), cameras=tuple(cameras))
    if len(set(outline.order)) < len(outline.order):
        raise ConfigError("the sequence acquires planes twice at the same index: do two channels have the same name?")
    return outline


def interval_s(sequence: Sequence) -> float:
    """Return the planned time between two time points, seconds; the longest, where a sequence has several."""
    plan = sequence.time_plan
    phases = getattr(plan, "phases", None) or ([plan] if plan is not None else [])
    return max((phase.interval.total_seconds() for phase in phases if hasattr(phase, "interval")), default=0.0)


def quiet_limit_s(sequence: Iterable[UseqEvent], *, at_least_s: float) -> float:
    """Return how long no frame may come: 5 exposures and the longest planned wait."""
    events = planned(sequence)
    starts = sorted({event.min_start_time or 0.0 for event in events})
    wait_s = max((later - earlier for earlier, later in itertools.pairwise(starts)), default=0.0)
    exposure_s = max((event.exposure or 0.0 for event in events), default=0.0) / 1000
    return max(at_least_s, 5 * exposure_s + wait_s)


# -- what is left -------------------------------------------------------------------------------------------------


def remaining(sequence: Iterable[UseqEvent], outline: Outline, stored: Collection[VolumeKey]) -> Iterator[UseqEvent]:
    """Yield the events of the volumes that are not stored.

    The first one comes at once, the others as long after it as planned.
    What is done for an image before it (autofocus) is done for those that are left.

    Parameters
    ----------
    outline : of the whole sequence
    """
    return _shifted(_wanted(sequence, outline, frozenset(stored)))


def _wanted(sequence: Iterable[UseqEvent], outline: Outline, stored: Collection[VolumeKey]) -> Iterator[UseqEvent]:
    is_left, others = iter(outline.events_left(stored)), []
    for event in sequence:
        if event.action.type != "acquire_image":
            others.append(event)
            continue
        if next(is_left):
            yield from (*others, event)
        others = []


def _shifted(events: Iterable[UseqEvent]) -> Iterator[UseqEvent]:
    """Yield events so that the first one starts the clock; one that starts it anew is on time by itself."""
    early_s: float | None = None
    for event in events:
        start_s = event.min_start_time
        if event.reset_event_timer and early_s is not None:
            early_s = 0.0
        changes: dict[str, Any] = {}
        if early_s is None:
            early_s = start_s or 0.0
            changes["reset_event_timer"] = True
        if start_s is not None:
            changes["min_start_time"] = max(0.0, start_s - early_s)
        yield event.replace(**changes)


# -- for the virtual microscope -----------------------------------------------------------------------------------


def short_form(config: VirtualConfig) -> VirtualConfig:
    """Return the config with the acquisition that the specimens are laid out for, where a sequence is the plan.

    Raises
    ------
    ConfigError
        The sequence cannot be read.
    """
    if config.sequence is None:
        return config
    events = planned(read_sequence(config.sequence))
    places = dict.fromkeys((event.x_pos or 0.0, event.y_pos or 0.0) for event in events)
    channels = {event.channel.config: event for event in events if event.channel is not None}
    heights = sorted({event.z_pos or 0.0 for event in events})
    acquisition = config.acquisition.model_copy(
        update={
            "time_points": max(1, len({event.index.get("t", 0) for event in events})),
            "positions": tuple(Position(name=f"{n}", x_um=x, y_um=y) for n, (x, y) in enumerate(places)),
            "channel_group": next((event.channel.group for event in channels.values()), "Channel"),
            "channels": tuple(Channel(preset=name, exposure_ms=one.exposure or 10.0) for name, one in channels.items())
            or (Channel(),),
            "z_planes": max(1, len(heights)),
            "z_start_um": heights[0] if heights else 0.0,
            "z_step_um": (heights[-1] - heights[0]) / (len(heights) - 1) if len(heights) > 1 else 1.0,
        }
    )
    return config.model_copy(update={"acquisition": acquisition})


# -- for pycromanager ---------------------------------------------------------------------------------------------


def pycromanager_events(events: Iterable[UseqEvent]) -> list[dict[str, Any]]:
    """Return useq events as pycromanager runs them, with names for positions and channels.

    Raises
    ------
    ConfigError
        An event needs what pycromanager can't do: autofocus, a clock that starts at each position, a pattern of light.
    """
    to_pycromanager = need("useq.pycromanager", extra="mm").to_pycromanager
    found: list[dict[str, Any]] = []
    for event in events:
        _refuse(event, is_first=not found)
        found.append({**to_pycromanager(event), "axes": axes_and_height(event)[0]})
    return found


def _refuse(event: UseqEvent, *, is_first: bool) -> None:
    problem = (
        f"has events of type {event.action.type!r}"
        if event.action.type != "acquire_image"
        else "starts its clock anew at each position"
        if event.reset_event_timer and not is_first
        else "shows patterns of light"
        if event.slm_image is not None
        else None
    )
    if problem is not None:
        raise ConfigError(f'the sequence {problem}, which pycromanager cannot do: use source.kind = "pymmcore-plus"')
