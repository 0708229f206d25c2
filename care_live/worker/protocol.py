"""What the daemon and its inference process say to each other over a private pipe; arrays lie in shared memory."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from care_live.images import Flag, ModelIdentity, Volume, VolumeKey
from care_live.maps import Head
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore.ranges import Memories
from care_live.verdict import Trust
from care_live.worker.shared_memory import Place

_FIGURES = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Ready:
    """The network is checked and warm."""

    card: ModelCard
    identity: ModelIdentity
    provider: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An error of ours, by the name of its type, so that the daemon can raise it again."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Volumes of this shape will come: make sessions, find tiles that fit, run once."""

    shape: tuple[int, int, int]
    """(z, y, x)"""


@dataclass(frozen=True, slots=True)
class Begin:
    """The first plane of a time point is about to come; the range of every channel is known."""

    key: VolumeKey
    """Of its first channel."""
    pixels: tuple[Place, ...]
    """(z, y, x) of each channel, filled plane by plane."""
    taken: Place
    """(2,) int64, written by inference: planes taken in (the daemon never runs far ahead), planes restored."""
    results: Mapping[Head, Place]
    spans: tuple[Span, ...]
    plane_s: float
    """From one plane to the next, as of late."""


@dataclass(frozen=True, slots=True)
class PlanesPlaced:
    """Planes of a time point are in place."""

    key: VolumeKey
    """Of its first channel."""
    planes: tuple[tuple[int, int], ...]
    """Channel, counted in the order of the network, and z."""


@dataclass(frozen=True, slots=True)
class Work:
    """Restore one time point."""

    volumes: tuple[Volume, ...]
    """Without their pixels."""
    pixels: tuple[Place, ...]
    """Of each volume."""
    results: Mapping[Head, Place]
    """Where (c_out, z, y, x) of each head goes."""
    memories: Memories
    """What earlier volumes taught: the daemon keeps it, since this process may be killed."""
    alive: frozenset[int]
    """Shared segments that still exist."""
    streamed: bool = False
    """It was begun plane by plane, and all its planes came."""

    @property
    def n_px(self) -> int:
        """Raw voxels of all channels."""
        return sum(math.prod(place.shape) for place in self.pixels)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found out about one output channel."""

    voxel_size_um: tuple[float, float, float]
    low: float
    high: float
    flags: frozenset[Flag]
    infer_s: float
    c_out: int
    source: int
    """Index of the input volume that it belongs to."""
    trust: Trust | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """One time point is restored."""

    outcomes: tuple[Outcome, ...]
    memories: Memories
    streaming: str
    """*streamed*, or why not."""
    why: str = ""
    """Why it was streamed."""

    def chose_as(self, streaming: str) -> bool:
        """Return whether another choice was the same, for the same reason, whatever its figures."""
        return _FIGURES.sub("", streaming) == _FIGURES.sub("", self.streaming)


@dataclass(frozen=True, slots=True)
class StopInference:
    """End."""


Request: TypeAlias = WarmUp | Begin | PlanesPlaced | Work | StopInference
"""What the child is asked."""
