"""The planes to come, from the events of an acquisition, before the first one is exposed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from care_live.acquisition_plan import twin_of
from care_live.images import PlaneIndex, VolumeKey
from care_live.recorded.recording import stacks_of
from care_live.recorded.tags import Places, is_reference

Axes: TypeAlias = Mapping[str, Any]
"""Micro-Manager's axes of an event or a frame."""
PlannedEvent: TypeAlias = tuple[Axes, float | None]
"""Its axes, and its height in µm."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Every plane to come; empty where the events are not known."""

    places: Places
    """Numbers of the positions and channels, as they are planned."""
    order: tuple[PlaneIndex, ...] = ()
    """Planned planes; empty: not known."""
    stacks: Mapping[VolumeKey, tuple[int, ...]] = field(default_factory=dict)
    """The same planes by volume."""
    z_step_um: float | None = None
    cameras: tuple[str, ...] = ()
    """Labels of the cameras that each give a frame for every event; empty: there is one."""
    events: tuple[PlannedEvent, ...] = ()

    def seen_by(self, cameras: Sequence[str]) -> Outline:
        """Return the outline of the same events when several cameras look."""
        return outline_of(self.events, cameras=cameras)

    def events_left(self, stored: Collection[VolumeKey]) -> list[bool]:
        """Return for each event whether it has a plane of a volume that is not stored."""
        together, left = max(1, len(self.cameras)), self._left(stored)
        events = (self.order[first : first + together] for first in range(0, len(self.order), together))
        return [any(index.volume in left for index in planes) for planes in events]

    def without(self, stored: Collection[VolumeKey]) -> Outline:
        """Return what is left; positions and channels keep their numbers."""
        left = self._left(stored)
        order = tuple(index for index in self.order if index.volume in left)
        return replace(self, order=order, stacks=stacks_of(order))

    def _left(self, stored: Collection[VolumeKey]) -> frozenset[VolumeKey]:
        return volumes_left(self.stacks, self.places.channels, stored)

    def planes_of(self, axes_of_events: Iterable[Axes]) -> dict[str, list[PlaneIndex]]:
        """Return the planes of each camera in the order of the events; with one camera, its label is empty.

        Raises
        ------
        FrameError
            An event's axes name no plane.
        """
        together = list(axes_of_events)
        if not self.cameras:
            return {"": [self.places.index_of(axes) for axes in together]}
        return {label: [self.places.index_of({**axes, "camera": label}) for axes in together] for label in self.cameras}


def outline_of(events: Iterable[PlannedEvent], *, cameras: Sequence[str] = ()) -> Outline:
    """Read what an acquisition will run: Micro-Manager's axes of every event, and its height in µm.

    Parameters
    ----------
    cameras : labels of those that each give a frame for every event; empty: there is one

    Raises
    ------
    FrameError
        An event's axes name no plane.
    """
    places, events = Places(), tuple(events)
    seen = [(one, height) for axes, height in events for one in _by_camera(axes, cameras)]
    for axes, _ in seen:
        if not is_reference(axes):  # references get the last numbers: a network of n channels reads the first n
            places.index_of(axes)
    planned = [(places.index_of(axes), height) for axes, height in seen]
    first = planned[0][0].volume if planned else None
    heights = sorted({height for index, height in planned if height is not None and index.volume == first})
    step = float(np.median(np.diff(heights))) if len(heights) > 1 else None
    order = tuple(index for index, _ in planned)
    return Outline(places, order, stacks_of(order), step, tuple(cameras), events)


def volumes_left(
    planned: Collection[VolumeKey], channels: Sequence[str], stored: Collection[VolumeKey]
) -> frozenset[VolumeKey]:
    """Return the volumes to expose; a reference of which the twin is stored would show another moment than it."""
    twins = {c: twin_of(channels, c) for c in {key.c for key in planned}}
    pairs = ((key, twins[key.c]) for key in planned if key not in stored)
    return frozenset(key for key, twin in pairs if twin is None or key._replace(c=twin) not in stored)


def _by_camera(axes: Axes, cameras: Sequence[str]) -> list[Axes]:
    return [{**axes, "camera": label} for label in cameras] if cameras else [axes]
