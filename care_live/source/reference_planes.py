"""Which planes are exposed a second time at full light: right after their low-light twins, so that little moves.

Every source that drives a microscope adds them by itself. In a script of your own::

    events = with_references(multi_d_acquisition_events(...), ReferenceConfig(every=25))
    Acquisition(directory, name, image_process_fn=tap(address, events=events))  # pycromanager

    events = with_references(useq.MDASequence(...), ReferenceConfig(every=25))
    observer = observe(core, address, events=events)  # pymmcore-plus
    core.run_mda(events)

or expose them as you like, and give them the axis ``reference``: every plane where it is not 0 shows once more, at full
light, the plane that has the same other axes.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from care_live.config import ReferenceConfig
from care_live.errors import ConfigError
from care_live.images import REFERENCE
from care_live.recorded.tags import is_reference
from care_live.source.useq_axes import CHANNEL, axes_and_height

UseqEvent: TypeAlias = Any
"""One of pycromanager's, a dict; or a useq.MDAEvent."""
Axes: TypeAlias = Mapping[str, Any]

_GOLDEN = 0.6180339887
"""Steps by it cover every height evenly, however many references there will be."""
_MAX_DOSE = 1.0
"""More than doubling the light of a run is a mistake in the settings."""
_MAX_EVENTS = 2_000_000


def with_references(events: Iterable[UseqEvent], wanted: ReferenceConfig | None) -> Iterable[UseqEvent]:
    """Return the events, each reference behind its twin: the same place, exposed longer.

    What is no plane of a stack without references (autofocus, a reference that is there already) stays as it is; so
    do all events where no reference is wanted.

    Raises
    ------
    ConfigError
        The events have no end, a twin has no exposure time, or the references would more than double the light.
    """
    if wanted is None:
        return events
    every = _all_of(events)
    is_twin = _are_twins(every, wanted)
    dim_ms = sum(_exposure_ms(event) or 0.0 for event in every)
    bright_ms = sum(wanted.light * (_exposure_ms(event) or 0.0) for event in itertools.compress(every, is_twin))
    if bright_ms > _MAX_DOSE * dim_ms:
        raise ConfigError(
            f"{wanted.planes} reference planes every {wanted.every} time points would cost {bright_ms / dim_ms:.0%} "
            "more light: take a larger reference.every, or less reference.light"
        )
    return list(_inserted(every, is_twin, wanted))


def exposed_again(events: Sequence[UseqEvent], wanted: ReferenceConfig) -> list[UseqEvent]:
    """Return the events with references as `with_references` does, whatever their light."""
    return list(_inserted(events, _are_twins(events, wanted), wanted))


def _inserted(events: Iterable[UseqEvent], is_twin: Iterable[bool], wanted: ReferenceConfig) -> Iterator[UseqEvent]:
    for event, has_reference in zip(events, is_twin, strict=True):
        yield event
        if has_reference:
            yield _reference_of(event, wanted)


def heights(wanted: ReferenceConfig | None, t: int, planes: Sequence[int]) -> tuple[int, ...]:
    """Return those z indices of a stack, given in order, that have a reference at a time point; () at most of them."""
    if wanted is None or t % wanted.every or not planes:
        return ()
    first, n_z, n = (0.5 + t // wanted.every * _GOLDEN) % 1.0, len(planes), min(wanted.planes, len(planes))
    return tuple(planes[place] for place in sorted({int((first + k) * n_z / n) % n_z for k in range(n)}))


def _all_of(events: Iterable[UseqEvent]) -> list[UseqEvent]:
    every: list[UseqEvent] = []
    for event in events:
        every.append(event)
        if len(every) > _MAX_EVENTS:
            raise ConfigError("[reference] needs a sequence with an end: give its time plan a number of loops")
    return every


def _are_twins(events: Sequence[UseqEvent], wanted: ReferenceConfig) -> list[bool]:
    """Tell of each event whether a reference comes behind it."""
    axes = [_axes_of(event) for event in events]
    stacks: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    for one in axes:
        if one is not None:
            stacks[_stack(one)].add(int(one.get("z", 0)))
    chosen = {stack: heights(wanted, stack[0], sorted(planes)) for stack, planes in stacks.items()}
    return [one is not None and int(one.get("z", 0)) in chosen[_stack(one)] for one in axes]


def _axes_of(event: UseqEvent) -> Axes | None:
    """Return the axes of an event that acquires a plane at low light; None for all others."""
    if not isinstance(event, Mapping) and event.action.type != "acquire_image":
        return None
    axes: Axes = event["axes"] if isinstance(event, Mapping) else axes_and_height(event)[0]
    return None if is_reference(axes) else axes


def _stack(axes: Axes) -> tuple[Any, ...]:
    """Return what all planes of a stack share, the time point first."""
    return int(axes.get("time", 0)), *sorted((str(k), str(v)) for k, v in axes.items() if k not in ("time", "z"))


def _exposure_ms(event: UseqEvent) -> float | None:
    if isinstance(event, Mapping):
        return event.get("exposure")
    exposure: float | None = event.exposure if event.action.type == "acquire_image" else None
    return exposure


def _reference_of(twin: UseqEvent, wanted: ReferenceConfig) -> UseqEvent:
    """Return the second exposure of a plane: with the preset of more light, or longer."""
    exposure_ms = _exposure_ms(twin)
    if exposure_ms is None:  # and the planes behind the reference would be exposed as long as it
        raise ConfigError("a plane that shall be exposed a second time has no exposure time: set one for every channel")
    preset = _preset_of(twin)
    brighter = None if preset is None else wanted.preset_of(preset[1])
    if brighter is None:
        exposure_ms *= wanted.light
    if not isinstance(twin, Mapping):
        changes: dict[str, Any] = {"index": {**twin.index, "reference": 1}, "exposure": exposure_ms}
        if brighter is not None:
            changes["channel"] = {"group": twin.channel.group, "config": brighter}
            changes["metadata"] = {**twin.metadata, CHANNEL: twin.channel.config}
        return twin.replace(**changes, reset_event_timer=False)
    axes = twin["axes"]
    named = {"channel": f"{axes['channel']}{REFERENCE}"} if "channel" in axes else {"reference": 1}
    group = {} if preset is None or brighter is None else {"config_group": [preset[0], brighter]}
    return {**twin, **group, "axes": {**axes, **named}, "exposure": exposure_ms}


def _preset_of(event: UseqEvent) -> tuple[str, str] | None:
    """Return the group and the preset of an event; None: it sets none."""
    if isinstance(event, Mapping):
        group = event.get("config_group")
        return None if group is None else (group[0], group[1])
    return None if event.channel is None else (event.channel.group, event.channel.config)


def check_presets(events: Iterable[UseqEvent], settings_of: Callable[[str, str], Iterable[tuple[str, str]]]) -> None:
    """Refuse references whose light would stay on for the planes behind them.

    Parameters
    ----------
    settings_of : returns (device, property) of all that a preset of a group sets

    Raises
    ------
    ConfigError
        The preset of a reference sets what the preset of its twin does not set back.
    """
    shots = [event for event in events if isinstance(event, Mapping) or event.action.type == "acquire_image"]
    pairs = {(_preset_of(one), _preset_of(two)) for one, two in itertools.pairwise(shots) if _axes_of(two) is None}
    for dim, bright in pairs:
        if dim is None or bright is None or dim == bright:
            continue
        if left := sorted(set(settings_of(*bright)) - set(settings_of(*dim))):
            named = ", ".join("-".join(one) for one in left)
            raise ConfigError(
                f"preset {bright[1]!r} sets {named}, and preset {dim[1]!r} does not set it back: every plane behind a "
                "reference would get its light; let both presets set it"
            )
