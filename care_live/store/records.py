"""What the journal says, one kind of record for everything that can become true of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from care_live.images import (
    Closed,
    Counts,
    Flag,
    Integrity,
    ModelIdentity,
    NotRestored,
    Plan,
    Restored,
    RunEnded,
    RunStarted,
    State,
    StateChanged,
    Volume,
    VolumeKey,
)
from care_live.maps import HEADS, folder_of

Product: TypeAlias = str
"""An image group of a run, by the name of its folder."""


PRODUCTS: tuple[Product, ...] = ("raw", *map(folder_of, HEADS))


class _Record(BaseModel):
    """Base: a reader ignores fields that a later version adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StoredArray(_Record):
    """One committed volume of one product."""

    crc32c: int
    """Of the pixels as stored, C order, little endian."""
    shape: tuple[int, int, int]
    """(z, y, x); the Zarr array may be deeper where volumes differ."""
    dtype: str
    file_bytes: int
    """Of its shard files together."""


class RunBegan(_Record):
    """The run's plan. The first record."""

    kind: Literal["run-began"] = "run-began"
    format: Literal["care-live-run-1"] = "care-live-run-1"
    care_live: str
    run_id: str
    at_us: int
    stacks: tuple[tuple[tuple[int, ...], tuple[VolumeKey, ...]], ...]
    """(z indices, volumes that have them)."""
    shape_px: tuple[int, int]
    dtype: str
    voxel_size_um: tuple[float, float, float]
    channels: tuple[str, ...]
    positions: tuple[str, ...]
    interval_s: float
    endless: bool
    summary: dict[str, Any]

    @classmethod
    def of(cls, started: RunStarted, *, care_live: str, at_us: int) -> RunBegan:
        plan = started.plan
        return cls(
            care_live=care_live,
            run_id=started.run_id,
            at_us=at_us,
            stacks=_by_depth(plan.stacks),
            shape_px=plan.shape_px,
            dtype=plan.dtype,
            voxel_size_um=plan.voxel_size_um,
            channels=plan.channels,
            positions=plan.positions,
            interval_s=plan.interval_s,
            endless=plan.endless,
            summary=dict(started.summary),
        )

    def plan(self) -> Plan:
        return Plan(
            stacks={key: planes for planes, keys in self.stacks for key in keys},
            shape_px=self.shape_px,
            dtype=self.dtype,
            voxel_size_um=self.voxel_size_um,
            channels=self.channels,
            positions=self.positions,
            interval_s=self.interval_s,
            endless=self.endless,
        )


class RunResumed(_Record):
    """A writer opened the run again; what was provisional then is never confirmed."""

    kind: Literal["run-resumed"] = "run-resumed"
    care_live: str
    at_us: int


class RawStored(_Record):
    """A raw volume is safe."""

    kind: Literal["raw"] = "raw"
    key: VolumeKey
    array: StoredArray
    integrity: Integrity
    closed: Closed
    state: State
    first_plane_ns: int
    last_plane_ns: int
    acquired_us: int
    exposure_ms: float | None

    @classmethod
    def of(cls, volume: Volume, array: StoredArray) -> RawStored:
        return cls(
            key=volume.key,
            array=array,
            integrity=volume.integrity,
            closed=volume.closed,
            state=volume.state,
            first_plane_ns=volume.first_plane_ns,
            last_plane_ns=volume.last_plane_ns,
            acquired_us=volume.acquired_us,
            exposure_ms=volume.exposure_ms,
        )

    def volume(self, began: RunBegan, pixels: Counts, state: State) -> Volume:
        """Return the volume as it was when it was stored, with the state that it has now."""
        return Volume(
            run_id=began.run_id,
            key=self.key,
            pixels=pixels,
            voxel_size_um=began.voxel_size_um,
            integrity=self.integrity,
            closed=self.closed,
            state=state,
            first_plane_ns=self.first_plane_ns,
            last_plane_ns=self.last_plane_ns,
            acquired_us=self.acquired_us,
            exposure_ms=self.exposure_ms,
        )


class RestoredStored(_Record):
    """A restored volume with all its maps is safe."""

    kind: Literal["restored"] = "restored"
    key: VolumeKey
    sources: tuple[VolumeKey, ...]
    """The raw volumes it was made from: several where the network mixes channels."""
    arrays: dict[Product, StoredArray]
    voxel_size_um: tuple[float, float, float]
    low: float
    high: float
    model: ModelIdentity
    flags: tuple[Flag, ...]
    infer_s: float
    mantissa_bits: int

    @classmethod
    def of(
        cls,
        restored: Restored,
        arrays: Mapping[Product, StoredArray],
        *,
        sources: Iterable[VolumeKey],
        mantissa_bits: int,
    ) -> RestoredStored:
        return cls(
            key=restored.key,
            sources=tuple(sources),
            arrays=dict(arrays),
            voxel_size_um=restored.voxel_size_um,
            low=restored.low,
            high=restored.high,
            model=restored.model,
            flags=tuple(sorted(restored.flags)),
            infer_s=restored.infer_s,
            mantissa_bits=mantissa_bits,
        )


class Retracted(_Record):
    """A restored volume is about to be replaced: until the new one is safe there is none."""

    kind: Literal["retracted"] = "retracted"
    key: VolumeKey


class StateNoted(_Record):
    """A raw volume, and what was restored from it, is confirmed or suspect from now on."""

    kind: Literal["state"] = "state"
    key: VolumeKey
    state: State
    detail: str

    @classmethod
    def of(cls, changed: StateChanged) -> StateNoted:
        return cls(key=changed.key, state=changed.state, detail=changed.detail)


class NotRestoredNoted(_Record):
    """A raw volume was skipped, or its inference failed."""

    kind: Literal["not-restored"] = "not-restored"
    key: VolumeKey
    reason: Literal["skipped", "failed"]
    detail: str

    @classmethod
    def of(cls, event: NotRestored) -> NotRestoredNoted:
        return cls(key=event.key, reason=event.reason, detail=event.detail)


class RunEndNoted(_Record):
    """The source ended the run."""

    kind: Literal["run-ended"] = "run-ended"
    reason: Literal["finished", "aborted", "failed", "stalled"]
    detail: str
    n_delivered: int
    n_refused: int
    restoring: bool = False
    """Volumes still waited to be restored; noted once more, without this, when the writer has done what it could."""

    @classmethod
    def of(cls, ended: RunEnded, *, restoring: bool) -> RunEndNoted:
        return cls(
            reason=ended.reason,
            detail=ended.detail,
            n_delivered=ended.n_delivered,
            n_refused=ended.n_refused,
            restoring=restoring,
        )

    @property
    def is_complete(self) -> bool:
        """Whether the source came to its planned end, and nothing was left to do."""
        return self.reason == "finished" and not self.restoring


class ModelNoted(_Record):
    """The card of a network that restores in this run."""

    kind: Literal["model"] = "model"
    name: str
    sha256: str
    card: dict[str, Any]


Record: TypeAlias = (
    RunBegan
    | RunResumed
    | RawStored
    | RestoredStored
    | Retracted
    | StateNoted
    | NotRestoredNoted
    | RunEndNoted
    | ModelNoted
)

_ADAPTER: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def to_json(record: Record) -> bytes:
    return record.model_dump_json().encode()


def from_json(text: bytes) -> Record:
    """Read one record; raises pydantic's ValidationError for a kind that this version does not know."""
    return _ADAPTER.validate_json(text)


def _by_depth(stacks: Mapping[VolumeKey, tuple[int, ...]]) -> tuple[tuple[tuple[int, ...], tuple[VolumeKey, ...]], ...]:
    """Turn the plan round: most volumes have the same planes, and a long run has many volumes."""
    keys_of: dict[tuple[int, ...], list[VolumeKey]] = {}
    for key, planes in stacks.items():
        keys_of.setdefault(tuple(int(z) for z in np.asarray(planes)), []).append(key)
    return tuple((planes, tuple(keys)) for planes, keys in keys_of.items())
