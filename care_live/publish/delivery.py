"""What a subscriber gets: a volume, or planes of one that is still being restored, and the message that brought it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.images import Counts, Flag, ModelIdentity, Restored, State, Volume, VolumeKey
from care_live.maps import HEADS, Array, Head
from care_live.publish import describe
from care_live.reasons import Choice
from care_live.verdict import Trust
from care_live.wire import arrays, messages
from care_live.wire.messages import Change, End, Gap, Heartbeat, Skipped, Start

_NO_PIXELS = np.empty((0, 0, 0), np.uint16)


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One volume, or some planes of one, as it came; not for intensity quantification."""

    restored: Restored | None
    """As the daemon published it, with the requested maps; None: raw only, it was not restored. Its ``z`` are
    the planes of a volume that is still being restored; None: the whole volume."""
    volume: Volume | None
    """The raw one; its pixels are empty where they were not requested. None: still being recorded."""
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
    def key(self) -> VolumeKey:
        """Time point, position and output channel."""
        return VolumeKey(*self.sent.key)

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

    @property
    def flags(self) -> frozenset[Flag]:
        """As they came: a newer daemon may know more of them."""
        return frozenset() if self.restored is None else self.restored.flags

    @property
    def trust(self) -> Trust | None:
        """Whether it agrees with the photons that were counted; None: it was not examined."""
        return None if self.restored is None else self.restored.trust

    @property
    def choice(self) -> Choice | None:
        """Whether it went through the network while it was recorded, and why; None: not known."""
        return None if self.restored is None else self.restored.choice

    @property
    def model(self) -> ModelIdentity | None:
        """None: raw only, it was not restored."""
        return None if self.restored is None else self.restored.model

    @property
    def raw(self) -> Counts | None:
        """(z, y, x) camera counts, read-only; None where it was not asked for."""
        return None if self.volume is None or not self.volume.pixels.size else self.volume.pixels

    @property
    def maps(self) -> Mapping[Head, Array]:
        """What came of `care_live.maps.MAPS`, (z, y, x) each: the confidence interval is mean ± (−b·log(1−q)), b the
        Laplace scale."""
        return {} if self.restored is None else self.restored.maps

    @property
    def mean(self) -> Array | None:
        """(z, y, x): the restored image itself; None where it was not asked for."""
        return self.maps.get("mean")

    @property
    def voxel_size_um(self) -> tuple[float, float, float]:
        """(z, y, x) of the maps (of the raw planes, where there is nothing else; 1, where there is nothing)."""
        return _voxel_size_um(self.sent)


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
