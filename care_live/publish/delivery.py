"""What a subscriber gets: a volume, or planes of one that is still being restored, and the message that brought it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.images import Counts, ModelIdentity, Restored, State, VolumeKey
from care_live.maps import HEADS, Array, Head
from care_live.publish import describe
from care_live.raw_and_restored import RawAndRestored
from care_live.wire import arrays, messages
from care_live.wire.messages import Change, End, Gap, Heartbeat, Skipped, Start

_NO_PIXELS = np.empty((0, 0, 0), np.uint16)


@dataclass(frozen=True, slots=True, eq=False)
class Delivery(RawAndRestored):
    """One volume, or some planes of one, as it came; not for intensity quantification."""

    seq: int | None
    """Its number in the log of this session; None: read from the store, or planes."""
    age_s: float
    """From the last plane to its arrival here; NaN: it is still being recorded."""
    n_skipped: int
    """Volumes of this position and channel that this watcher skipped just before."""
    sent: messages.VolumeMessage | messages.Slab
    """The message in front of the arrays."""

    @property
    def header(self) -> messages.VolumeMessage:
        """The whole header of a volume: integrity, level, origin, times."""
        assert isinstance(self.sent, messages.VolumeMessage), f"volume {tuple(self.key)} is still being recorded"
        return self.sent

    @property
    def is_whole(self) -> bool:
        """Whether it is a volume, and not some planes of one."""
        return self.volume is not None

    @property
    def run_id(self) -> str:
        return self.sent.run or ""

    @property
    def limits(self) -> str:
        """What it must not be used for."""
        return self.sent.limits

    @property
    def state(self) -> State:
        """When it was sent; a later `Change` may confirm it, or call it suspect."""
        return self.sent.state


FromDaemon: TypeAlias = Delivery | Start | Change | Skipped | End | Heartbeat | Gap
"""What a watcher receives."""


def of_planes(header: messages.Slab, codes: tuple[NDArray[Any], ...]) -> Delivery:
    """Turn a decoded message into maps of planes, in camera counts."""
    maps, _ = _values(header, codes)
    key, n = VolumeKey(*header.key), header.arrays[0].shape[0]
    restored = Restored(
        key=key,
        sources=(),
        maps=maps,
        voxel_size_um=_voxel_size_um(header),
        low=0.0,
        high=0.0,
        model=describe.identity_of(header.model) or ModelIdentity("", ""),
        raw=None,
        z=slice(header.z_first, header.z_first + n),
        n_planes=header.n_planes,
    )
    return Delivery(restored, None, seq=None, age_s=math.nan, n_skipped=0, sent=header)


def of_volume(
    header: messages.VolumeMessage, codes: tuple[NDArray[Any], ...], age_s: float, n_skipped: int
) -> Delivery:
    """Turn a decoded message into maps and raw planes, in camera counts."""
    maps, raw = _values(header, codes)
    size = next((array.voxel_size_um for array in header.arrays if array.product == "raw"), _voxel_size_um(header))
    volume = describe.volume_of(header, _NO_PIXELS if raw is None else raw, size)
    restored = None if header.model is None else describe.restored_of(header, volume, maps)
    return Delivery(restored, volume, header.seq, age_s, n_skipped, header)


def _values(
    header: messages.VolumeMessage | messages.Slab, codes: tuple[NDArray[Any], ...]
) -> tuple[dict[Head, Array], Counts | None]:
    """Return the maps and the raw planes among what came."""
    found = {array.product: arrays.values(array, code) for array, code in zip(header.arrays, codes, strict=True)}
    return {head: found[head] for head in HEADS if head in found}, found.get("raw")


def _voxel_size_um(header: messages.VolumeMessage | messages.Slab) -> tuple[float, float, float]:
    sizes = [array.voxel_size_um for array in sorted(header.arrays, key=lambda array: array.product == "raw")]
    return sizes[0] if sizes else (1.0, 1.0, 1.0)
