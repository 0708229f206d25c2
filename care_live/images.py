"""The records that flow: Frame → Volume → Restored, and the events around them.

Everything here is frozen and every array read-only, so that stages share them between threads and send them without
a copy. Indices are ``t, p, c, z`` (time point, stage position, channel, plane), from 0; the `Plan` has the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from care_live.acquisition_plan import REFERENCE as REFERENCE
from care_live.acquisition_plan import Plan as Plan
from care_live.acquisition_plan import PlaneIndex as PlaneIndex
from care_live.acquisition_plan import VolumeKey as VolumeKey
from care_live.live_frame import LiveConditions
from care_live.maps import Head, level_of
from care_live.reasons import Choice
from care_live.verdict import Trust

Counts: TypeAlias = NDArray[np.uint16] | NDArray[np.uint8]
"""Camera counts as they were recorded."""

State: TypeAlias = Literal["provisional", "confirmed", "suspect"]
"""*provisional* until the hardware sequence that delivered the planes has ended, then *confirmed*, or *suspect* when
that sequence lost or doubled a frame: engines label every later frame by counting, so its planes may be shifted."""

Closed: TypeAlias = Literal["complete", "deadline", "run-end"]
"""Why no more planes are taken for a volume."""

Flag: TypeAlias = Literal[
    "missing_plane", "saturated", "nan_fixed", "late", "degraded", "fast_mode", "empty", "out_of_domain"
]
"""What a watcher must know before trusting a volume.

*missing_plane*: planes were filled with the nearest one · *saturated*: some raw pixels are at the camera's maximum ·
*nan_fixed*: the network gave NaN or infinity there; published as 0 with infinite scale · *late*: restored from the
store, not live · *degraded*: tiles had to shrink · *fast_mode*: reduced precision, asked for · *empty*: the intensity
range was below the noise floor, so the previous one was kept · *out_of_domain*: the network was trained on other
data; `Trust` says why."""

LIMITS = "not for intensity quantification"
"""Stands beside every restored volume, on the wire, in the store and on the screen (Weigert et al. 2018)."""

MISSED = "missed_acquisitions"
"""Key in a run's summary: names of acquisitions before it that the source knows to have missed."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first event of every source."""

    run_id: str
    """1-64 characters of ``0-9 A-Z a-z _ -``."""
    plan: Plan
    summary: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able description from the source: microscope, objective, its own metadata."""
    tap: str = ""
    """The acquisition behind a link, by the random name of its tap; empty: not known, or the daemon itself started it,
    which then goes on with what is left."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One exposure and where it belongs."""

    run_id: str
    arrival: int
    """Counts from 0 over the run, in the order in which the source handed frames over."""
    index: PlaneIndex
    pixels: Counts
    """(y, x), read-only."""
    host_time_ns: int
    """Monotonic clock of the machine that received the frame from the camera."""
    core_time_us: int | None = None
    """When Micro-Manager's core received it, microseconds since the epoch, or None."""
    exposure_ms: float | None = None
    sequence_id: int | None = None
    """Number of the hardware sequence that delivered it; None: snapped, so its index is certain."""
    camera_count: int | None = None
    """The camera's own frame counter, where it has one: a jump inside a sequence means a lost frame."""


@dataclass(frozen=True, slots=True)
class SequenceEnded:
    """A hardware sequence is over; only now are its frames' indices known to be right or not."""

    sequence_id: int
    n_expected: int
    n_received: int
    problem: str | None = None
    """What the engine reported or the camera's counter showed, or None when all is well."""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The last event of every source."""

    reason: Literal["finished", "aborted", "failed", "stalled"]
    detail: str = ""
    n_delivered: int = 0
    """Frames that the source handed over."""
    n_refused: int = 0
    """Frames that the tap refused because its memory was full: skipped by care_live, not lost by the camera."""


@dataclass(frozen=True, slots=True)
class StillAcquiring:
    """The microscope goes on with the run: it is paused, or takes other planes first; open volumes wait for theirs."""


RunEvent: TypeAlias = RunStarted | Frame | SequenceEnded | RunEnded
"""What a tap sends."""
SourceEvent: TypeAlias = RunEvent | StillAcquiring


@dataclass(frozen=True, slots=True)
class Integrity:
    """How complete a volume is."""

    expected: tuple[int, ...]
    """Planned z indices; what came, when nothing was planned."""
    received: tuple[int, ...]
    n_duplicates: int = 0
    n_out_of_order: int = 0
    worst_gap_ms: float = 0.0
    """Longest time between two neighbouring frames of this volume."""
    sequence_ids: tuple[int, ...] = ()
    """Hardware sequences that delivered its planes; empty: all snapped."""

    @property
    def missing(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.expected) - set(self.received)))


class VolumeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal keeps of a volume beside its pixels."""

    key: VolumeKey
    integrity: Integrity
    closed: Closed
    state: State
    first_plane_ns: int
    last_plane_ns: int
    """Host monotonic time: the age of what a watcher sees counts from the last plane."""
    acquired_us: int
    """Wall clock of the last plane, microseconds since the epoch."""
    exposure_ms: float | None = None


class VolumeHead(VolumeRecord, frozen=True, kw_only=True):
    """A volume without its pixels."""

    run_id: str
    voxel_size_um: tuple[float, float, float]


class Volume(VolumeHead, frozen=True, kw_only=True, eq=False, weakref=True):
    """A complete (z, y, x) of one channel, position and time point; missing planes are zero."""

    pixels: Counts
    """(z, y, x), read-only. Plane i is z index ``integrity.expected[i]``."""
    live: LiveConditions | None = None
    """How a frame outside any run was taken; None: a volume of a run."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A closed volume turned from provisional to confirmed or suspect."""

    key: VolumeKey
    state: State
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which network made a volume."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class NetworkInUse:
    """A network that restores in a run from here on."""

    identity: ModelIdentity
    card: Mapping[str, Any]
    """Its model card, as JSON."""
    channels: tuple[int, ...] = ()
    """Restored channels that it makes; empty: all."""


class RestoredRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal keeps of a restored volume beside its maps and flags."""

    key: VolumeKey
    """With the output channel: the input's, unless the network mixes channels."""
    sources: tuple[VolumeKey, ...]
    """Raw volumes that the network read together."""
    voxel_size_um: tuple[float, float, float]
    """Of *mean*, (z, y, x)."""
    low: float
    high: float
    """Camera counts that became 0 and 1 before the network."""
    model: ModelIdentity
    infer_s: float = 0.0
    """Seconds from the volume's arrival in the inference process to its result."""
    mantissa_bits: int = 23
    """Of float32 that its maps keep: all as the network gave them, fewer when they were read from the store."""
    trust: Trust | None = None
    """Whether it agrees with the photons that were counted; None: it was not examined."""
    choice: Choice | None = None
    """Whether it went through the network while it was recorded, and why; None: offline, or by an older version."""
    earlier: tuple[VolumeKey, ...] = ()
    """Raw volumes of earlier time points that the network read with the sources, the latest first."""


class RestoredHead(RestoredRecord, frozen=True, kw_only=True):
    """A restored volume without its maps."""

    flags: frozenset[Flag] = frozenset()


class Restored(RestoredHead, frozen=True, kw_only=True, eq=False):
    """What the network predicts for one volume, or for some planes of one that is still being recorded."""

    maps: Mapping[Head, NDArray[np.float32]]
    """What the network gives, and what is calculated of that, of `care_live.maps.MAPS`: (z, y, x) each, read-only.
    *mean* is there always, unless a watcher asked for less. All have its planes, and its rows and columns, or half of
    them, a quarter and so on. z may differ from the raw volume's (isotropic, projection)."""
    raw: Volume | None
    """The source that it belongs to; None: still being recorded."""
    z: slice | None = None
    """Which planes of the restored volume the maps are; None: all."""
    n_planes: int = 0
    """Of the whole restored volume, where the maps are some of its planes."""

    @property
    def volume(self) -> Volume:
        """The raw volume of one that is recorded to its end."""
        assert self.raw is not None, f"volume {tuple(self.key)} is still being recorded"
        return self.raw

    @property
    def mean(self) -> NDArray[np.float32]:
        """(z, y, x): the restored image itself."""
        return self.maps["mean"]

    def level_of(self, head: Head) -> int:
        """Return how often the rows and columns of a map are halved against those of *mean*."""
        return (level_of(self.maps[head].shape, self.mean.shape) or 0) if "mean" in self.maps else 0

    @property
    def nbytes(self) -> int:
        """Of its maps."""
        return sum(array.nbytes for array in self.maps.values())


@dataclass(frozen=True, slots=True)
class NotRestored:
    """Why a volume has no restored one: skipped by policy, or failed; never *did not come*."""

    key: VolumeKey
    reason: Literal["skipped", "failed"]
    detail: str


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return the same memory with writing forbidden."""
    view = array.view()
    view.flags.writeable = False
    return view
