"""The messages between the daemon and its inference process, over a private pipe; arrays lie in shared memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from care_live.images import Flag, ModelIdentity, Volume, VolumeKey
from care_live.maps import Head
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.reasons import Choice
from care_live.restore.ranges import Memories
from care_live.verdict import Trust
from care_live.worker.shared_memory import Place


@dataclass(frozen=True, slots=True)
class Ready:
    """The network is checked and warm."""

    card: ModelCard
    identity: ModelIdentity
    provider: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An error of care_live, by the name of its type, so that the daemon can raise it again."""

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
    progress: Place
    """(2,) int64; see `care_live.restore.volume_stream.PlaneProgress`."""
    results: Mapping[Head, Place]
    spans: tuple[Span, ...]
    plane_s: float
    """Recent time from one plane to the next."""


@dataclass(frozen=True, slots=True)
class PlanesPlaced:
    """Planes of a time point are in place."""

    key: VolumeKey
    """Of its first channel."""
    planes: tuple[tuple[int, int], ...]
    """Channel, counted in the order of the network, and z."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """A volume left the daemon's table before its last plane: drop it."""

    key: VolumeKey
    """Of its first channel."""
    choice: Choice
    """Why it left."""


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
    """Ranges of earlier volumes: the daemon keeps them, since this process may be killed."""
    alive: frozenset[int]
    """Shared segments that still exist."""
    choice: Choice | None = None
    """Why it is not streamed; None: it was begun plane by plane, all its planes came, and inference decides."""

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
    choice: Choice
    """Whether it was streamed, and why."""


@dataclass(frozen=True, slots=True)
class StopInference:
    """End."""


Request: TypeAlias = WarmUp | Begin | PlanesPlaced | Abandon | Work | StopInference
"""What the child may receive."""
