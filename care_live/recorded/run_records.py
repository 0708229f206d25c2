"""What the journal says, one kind of record for everything that can become true of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from care_live.errors import StoreError
from care_live.images import (
    Counts,
    Flag,
    Plan,
    Restored,
    RestoredRecord,
    RunStarted,
    State,
    Volume,
    VolumeKey,
    VolumeRecord,
)
from care_live.maps import HEADS, folder_of
from care_live.wire import plans
from care_live.wire.codec import Codec, record_of

StoredProduct: TypeAlias = str
"""A product by the name of its folder in a run: raw, or a map, whose mean is called *restored* there."""
STORED_PRODUCTS: tuple[StoredProduct, ...] = ("raw", *map(folder_of, HEADS))


class _Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base: a reader ignores fields that a later version adds."""


class StoredArray(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One committed volume of one product."""

    crc32c: int
    """Of the pixels as stored, C order, little endian."""
    shape: tuple[int, int, int]
    """(z, y, x); the Zarr array may be deeper where volumes differ."""
    dtype: str
    file_bytes: int
    """Of its shard files together."""
    codec: str | None = None
    """How its chunks are packed (`care_live.store.raw_codec`); None: as the metadata of its image say."""
    levels: tuple[StoredArray, ...] = ()
    """Its coarser levels, each halved in y and x once more; volumes of live runs have none."""


class RunBegan(_Record, frozen=True, kw_only=True, tag="run-began"):
    """The run's plan. The first record."""

    format: Literal["care-live-run-1"] = "care-live-run-1"
    care_live: str
    run_id: str
    at_us: int
    groups: tuple[plans.StackGroup, ...] = ()
    """Planned volumes and their z indices; volumes that are planned alike go together."""
    stacks: tuple[tuple[tuple[int, ...], tuple[VolumeKey, ...]], ...] = ()
    """(z indices, volumes that have them): what older runs have in place of `groups`."""
    shape_px: tuple[int, int]
    dtype: str
    voxel_size_um: tuple[float, float, float]
    channels: tuple[str, ...]
    positions: tuple[str, ...]
    interval_s: float
    endless: bool
    summary: dict[str, Any]
    tap: str = ""

    @classmethod
    def of(cls, started: RunStarted, *, care_live: str, at_us: int) -> RunBegan:
        groups, summary = plans.groups_of(started.plan.stacks), dict(started.summary)
        return record_of(
            cls,
            started.plan,
            care_live=care_live,
            run_id=started.run_id,
            at_us=at_us,
            groups=groups,
            stacks=(),
            summary=summary,
            tap=started.tap,
        )

    def plan(self) -> Plan:
        older = {key: planes for planes, keys in self.stacks for key in keys}
        return record_of(Plan, self, stacks=older | plans.stacks_of(self.groups))


class RunResumed(_Record, frozen=True, kw_only=True, tag="run-resumed"):
    """A writer opened the run again; what was provisional then is never confirmed."""

    care_live: str
    at_us: int
    tap: str = ""


class RawStored(VolumeRecord, frozen=True, kw_only=True, tag_field="kind", tag="raw"):
    """A raw volume is safe."""

    array: StoredArray

    @classmethod
    def of(cls, volume: Volume, array: StoredArray) -> RawStored:
        return record_of(cls, volume, array=array)

    def volume(self, began: RunBegan, pixels: Counts, state: State) -> Volume:
        """Return the volume as it was when it was stored, with the state that it has now."""
        about = {"run_id": began.run_id, "voxel_size_um": began.voxel_size_um}
        return record_of(Volume, self, pixels=pixels, state=state, **about)


class RestoredStored(RestoredRecord, frozen=True, kw_only=True, tag_field="kind", tag="restored"):
    """A restored volume with all its maps is safe."""

    arrays: dict[StoredProduct, StoredArray]
    flags: tuple[Flag, ...]
    age_s: float | None = None
    """From its last plane to here, seconds; None: restored late or offline, or by an older version."""
    sources_crc32c: tuple[int, ...] = ()
    """Of the pixels of each source; empty: a raw volume in the run has its own, or an older version restored it."""

    @classmethod
    def of(
        cls,
        restored: Restored,
        arrays: Mapping[StoredProduct, StoredArray],
        *,
        mantissa_bits: int,
        age_s: float | None = None,
        sources_crc32c: tuple[int, ...] = (),
    ) -> RestoredStored:
        flags = tuple(sorted(restored.flags))
        return record_of(
            cls,
            restored,
            arrays=dict(arrays),
            flags=flags,
            mantissa_bits=mantissa_bits,
            age_s=age_s,
            sources_crc32c=sources_crc32c,
        )


class Retracted(_Record, frozen=True, kw_only=True, tag="retracted"):
    """A restored volume is about to be replaced: until the new one is safe there is none."""

    key: VolumeKey


class StateNoted(_Record, frozen=True, kw_only=True, tag="state"):
    """A raw volume, and what was restored from it, is confirmed or suspect from now on."""

    key: VolumeKey
    state: State
    detail: str


class NotRestoredNoted(_Record, frozen=True, kw_only=True, tag="not-restored"):
    """A raw volume was skipped, or its inference failed."""

    key: VolumeKey
    reason: Literal["skipped", "failed"]
    detail: str


class RunEndNoted(_Record, frozen=True, kw_only=True, tag="run-ended"):
    """The source ended the run."""

    reason: Literal["finished", "aborted", "failed", "stalled"]
    detail: str
    n_delivered: int
    n_refused: int
    restoring: bool = False
    """Volumes still waited to be restored; noted once more, without this, when the writer has done what it could."""

    @property
    def is_complete(self) -> bool:
        """Whether the source came to its planned end, and nothing was left to do."""
        return self.reason == "finished" and not self.restoring


class ModelNoted(_Record, frozen=True, kw_only=True, tag="model"):
    """The card of a network that restores in this run."""

    name: str
    sha256: str
    card: dict[str, Any]
    channels: tuple[int, ...] = ()
    """Restored channels that it makes; empty: all, or an older version wrote it."""


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

_codec: Codec[Record] = Codec(Record, "record of the journal", refusal=StoreError)
to_json, from_json = _codec.encode, _codec.decode
