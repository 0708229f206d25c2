"""Volumes and slabs as a watcher receives them: arrays and their headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from care_live.errors import ProtocolError
from care_live.images import Counts, Flag, ModelIdentity, Restored, State, Volume, VolumeKey
from care_live.maps import HEADS, Array, Head
from care_live.publish import describe
from care_live.reasons import Choice
from care_live.verdict import Trust
from care_live.wire import arrays, messages
from care_live.wire.arrays import Product
from care_live.wire.messages import Change, End, Gap, Heartbeat, Skipped, Start
from care_live.wire.trust_header import trust_of


@dataclass(frozen=True, slots=True, eq=False)
class LiveVolume:
    """One restored volume, as it came; not for intensity quantification."""

    run_id: str
    seq: int | None
    """Its number in the log of this session; None: read from the store."""
    key: VolumeKey
    """Time point, position and output channel."""
    state: State
    """At the time of sending; a later `Change` may make it confirmed or suspect."""
    flags: frozenset[Flag]
    """As they came: a newer daemon may know more of them."""
    trust: Trust | None
    """Whether it agrees with the photons that were counted; None: it was not examined."""
    choice: Choice | None
    """Whether it went through the network while it was recorded, and why; None: not known."""
    model: ModelIdentity | None
    """None: raw only, it was not restored."""
    limits: str
    raw: Counts | None
    """(z, y, x) camera counts, read-only; None where it was not requested."""
    maps: Mapping[Head, Array]
    """What came of `care_live.maps.MAPS`, (z, y, x) each, read-only: the confidence interval is mean ± (−b·log(1−q)),
    b the Laplace scale."""
    voxel_size_um: tuple[float, float, float]
    """(z, y, x) of the maps (of the raw one, where there is nothing else; 1, where there is nothing)."""
    acquired_us: int
    """When the last plane came, microseconds since the epoch, by the daemon's clock."""
    age_s: float
    """From the last plane to its arrival here."""
    n_skipped: int
    """Volumes of this position and channel that this watcher skipped just before."""
    header: messages.VolumeMessage
    """The whole header: integrity, level, origin, times."""

    @property
    def mean(self) -> Array | None:
        """(z, y, x): the restored image itself; None where it was not requested."""
        return self.maps.get("mean")

    def volume(self) -> Volume:
        """Return the raw volume as it was recorded; needs ``raw``, in full."""
        if self.raw is None:
            raise ProtocolError(f"volume {tuple(self.key)} came without its raw planes: request the product raw")
        return describe.volume_of(self.header, self.raw, self._voxel_size("raw"))

    def restored(self) -> Restored:
        """Return the record that the daemon published; needs ``raw`` and ``mean``, in full."""
        if self.model is None or "mean" not in self.maps:
            raise ProtocolError(f"volume {tuple(self.key)} came without a restored one")
        return describe.restored_of(self.header, self.volume(), self.maps)

    def _voxel_size(self, product: Product) -> tuple[float, float, float]:
        return next(header.voxel_size_um for header in self.header.arrays if header.product == product)


@dataclass(frozen=True, slots=True, eq=False)
class LiveSlab:
    """Planes of a volume that is still being restored; not for intensity quantification."""

    run_id: str
    key: VolumeKey
    z_first: int
    """Where it begins along the restored volume's first axis."""
    n_planes: int
    """Of the whole restored volume."""
    maps: Mapping[Head, Array]
    """What came of `care_live.maps.MAPS`, (z, y, x) each, read-only."""
    voxel_size_um: tuple[float, float, float]
    model: ModelIdentity | None
    header: messages.Slab

    @property
    def mean(self) -> Array | None:
        """(z, y, x): the restored planes themselves."""
        return self.maps.get("mean")


Delivered: TypeAlias = LiveVolume | LiveSlab | Start | Change | Skipped | End | Heartbeat | Gap
"""What a watcher receives."""


def live_slab(header: messages.Slab, codes: tuple[NDArray[Any], ...]) -> LiveSlab:
    """Turn a decoded message into arrays of camera counts."""
    found = {array.product: arrays.values(array, code) for array, code in zip(header.arrays, codes, strict=True)}
    return LiveSlab(
        run_id=header.run or "",
        key=VolumeKey(*header.key),
        z_first=header.z_first,
        n_planes=header.n_planes,
        maps=maps_of(found),
        voxel_size_um=header.arrays[0].voxel_size_um,
        model=_identity(header.model),
        header=header,
    )


def live_volume(
    header: messages.VolumeMessage, codes: tuple[NDArray[Any], ...], age_s: float, n_skipped: int
) -> LiveVolume:
    """Turn a decoded message into arrays of camera counts."""
    found = {array.product: arrays.values(array, code) for array, code in zip(header.arrays, codes, strict=True)}
    sizes = [array.voxel_size_um for array in sorted(header.arrays, key=lambda array: array.product == "raw")]
    return LiveVolume(
        run_id=header.run or "",
        seq=header.seq,
        key=VolumeKey(*header.key),
        state=header.state,
        flags=describe.flags_of(header),
        trust=trust_of(header.trust),
        choice=describe.choice_of(header),
        model=_identity(header.model),
        limits=header.limits,
        raw=found.get("raw"),
        maps=maps_of(found),
        voxel_size_um=sizes[0] if sizes else (1.0, 1.0, 1.0),
        acquired_us=header.acquired_us,
        age_s=age_s,
        n_skipped=n_skipped,
        header=header,
    )


def maps_of(found: Mapping[str, NDArray[Any]]) -> dict[Head, Array]:
    """Return the maps among what came."""
    return {head: found[head] for head in HEADS if head in found}


def _identity(model: messages.Model | None) -> ModelIdentity | None:
    return None if model is None else ModelIdentity(model.name, model.sha256)
