"""A plan in few words and back: volumes that are planned alike go together, their indices as ranges. Pure.

The one form for cl1, for the tap's link and for the journal of a run, which has the groups only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET

from care_live.errors import ConfigError, ProtocolError
from care_live.images import Plan, VolumeKey
from care_live.wire.arrays import Length, Size
from care_live.wire.codec import record_of
from care_live.wire.fields import Count, Name, PlaneNumbers, Ranges

K = TypeVar("K", bound=Hashable)
Planned = Mapping[VolumeKey, tuple[int, ...]]
"""The z indices of each volume."""

MAX_PLANNED = 1_000_000
"""Volumes in a plan: a few bytes on the wire must not become gigabytes."""
MAX_SHORT = 20_000
"""Numbers in a plan that lists each stack, as every receiver of major 1 reads it; a longer one is grouped."""
MAX_NAME = 128
"""Characters of a name."""
MAX_DEPTH = 65_536
"""Planes of one volume, as in a volume message."""
MAX_POSITIONS, MAX_CHANNELS = 65_536, 1024


class Stacks(msgspec.Struct, frozen=True):
    """Volumes of one position and channel that are planned with the same planes."""

    p: Count
    c: Count
    z: PlaneNumbers
    t: Ranges
    """Time points."""


class StackGroup(msgspec.Struct, frozen=True):
    """Volumes of many positions and channels that are planned alike: every `p` with every `c` and every `t`."""

    p: Ranges
    c: Ranges
    z: Ranges
    t: Ranges


class PlanHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What the acquisition will deliver."""

    stacks: tuple[Stacks, ...]
    groups: tuple[StackGroup, ...] | msgspec.UnsetType = msgspec.UNSET
    """A large plan has these in place of `stacks`."""
    shape_px: tuple[Size, Size]
    dtype: Literal["uint8", "uint16"]
    voxel_size_um: tuple[Length, Length, Length]
    channels: tuple[Name, ...]
    positions: tuple[Name, ...]
    interval_s: Annotated[float, msgspec.Meta(ge=0, lt=1e12)] = 0.0
    endless: bool = False


def check(plan: Plan) -> None:
    """Refuse a plan that no message takes, before anything is exposed for it.

    Raises
    ------
    ConfigError
        It has too many volumes, planes, positions or channels.
    """
    try:
        plan_of(plan_header(plan))
    except ProtocolError as error:
        raise ConfigError(f"{error}; plan a shorter one") from error


def plan_header(plan: Plan) -> PlanHeader:
    """Return a plan as messages have it."""
    stacks = tuple(Stacks(p=p, c=c, z=z, t=t) for (p, c, z), t in _times(plan.stacks).items())
    is_short = sum(2 + len(one.z) + 2 * len(one.t) for one in stacks) <= MAX_SHORT
    return PlanHeader(
        stacks=stacks if is_short else (),
        groups=UNSET if is_short else groups_of(plan.stacks),
        shape_px=plan.shape_px,
        dtype="uint8" if plan.dtype == "uint8" else "uint16",
        voxel_size_um=_lengths(plan.voxel_size_um),
        channels=tuple(map(_name, plan.channels)),
        positions=tuple(map(_name, plan.positions)),
        interval_s=plan.interval_s if 0 <= plan.interval_s < 1e12 else 0.0,
        endless=plan.endless,
    )


def plan_of(header: PlanHeader) -> Plan:
    """Return the plan that `plan_header` said.

    Raises
    ------
    ProtocolError
        The ranges are reversed, or mean more volumes, planes, positions or channels than any acquisition has.
    """
    groups = [
        *(StackGroup(p=((one.p, one.p),), c=((one.c, one.c),), z=_ranges(one.z), t=one.t) for one in header.stacks),
        *(header.groups or ()),
    ]
    _check_groups(groups)
    if len(header.positions) > MAX_POSITIONS or len(header.channels) > MAX_CHANNELS:
        named = f"{len(header.positions)} positions and {len(header.channels)} channels"
        raise ProtocolError(f"a plan of {named}: at most {MAX_POSITIONS} and {MAX_CHANNELS} are taken")
    return record_of(Plan, header, stacks=stacks_of(groups))


def without(header: PlanHeader, left_out: Collection[str]) -> PlanHeader:
    """Return a plan without the parts that don't fit: positions, channels, stacks."""
    return msgspec.structs.replace(
        header,
        positions=() if "positions" in left_out else header.positions,
        channels=() if "channels" in left_out else header.channels,
        stacks=() if "stacks" in left_out else header.stacks,
        groups=UNSET if "stacks" in left_out else header.groups,
    )


def groups_of(planned: Planned) -> tuple[StackGroup, ...]:
    """Put together first the times, then the positions, then the channels that are planned alike."""
    positions = _gathered(((c, z, t), p) for (p, c, z), t in _times(planned).items())
    channels = _gathered(((p, z, t), c) for (c, z, t), p in positions.items())
    return tuple(StackGroup(p=p, c=c, z=_ranges(z), t=t) for (p, z, t), c in channels.items())


def stacks_of(groups: Iterable[StackGroup]) -> dict[VolumeKey, tuple[int, ...]]:
    """Return what `groups_of` put together."""
    stacks: dict[VolumeKey, tuple[int, ...]] = {}
    for group in groups:
        times, positions, channels, planes = map(_numbers, (group.t, group.p, group.c, group.z))
        stacks.update({VolumeKey(t, p, c): planes for t in times for p in positions for c in channels})
    return stacks


def _times(planned: Planned) -> dict[tuple[int, int, tuple[int, ...]], Ranges]:
    """Return the time points at which a position and channel are planned with the same planes."""
    return _gathered(((key.p, key.c, tuple(planes)), key.t) for key, planes in planned.items())


def _gathered(found: Iterable[tuple[K, int]]) -> dict[K, Ranges]:
    """Return the numbers of each key as ranges."""
    numbers: dict[K, list[int]] = defaultdict(list)
    for key, number in found:
        numbers[key].append(number)
    return {key: _ranges(those) for key, those in numbers.items()}


def _check_groups(groups: Iterable[StackGroup]) -> None:
    """Refuse what would become gigabytes, before a single volume of it is made."""
    n_volumes = n_planes = 0
    for group in groups:
        volumes = _count(group.t) * _count(group.p) * _count(group.c)
        n_volumes, n_planes = n_volumes + volumes, n_planes + _count(group.z)
        if _count(group.z) > MAX_DEPTH:
            raise ProtocolError(f"a plan with volumes of {_count(group.z)} planes: at most {MAX_DEPTH} are taken")
    if n_volumes > MAX_PLANNED or n_planes > MAX_PLANNED:
        raise ProtocolError(f"a plan of {n_volumes} volumes and {n_planes} planes: at most {MAX_PLANNED} are taken")


def _count(ranges: Ranges) -> int:
    if any(last < first for first, last in ranges):
        raise ProtocolError(f"a plan has a reversed range; at most {MAX_PLANNED} are taken, each from low to high")
    return sum(last - first + 1 for first, last in ranges)


def _numbers(ranges: Ranges) -> tuple[int, ...]:
    return tuple(number for first, last in ranges for number in range(first, last + 1))


def _ranges(numbers: Iterable[int]) -> Ranges:
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return tuple(ranges)


def _name(said: str) -> str:
    """Return a name as it can travel: at most 128 characters, all of them Unicode's."""
    return said[:MAX_NAME].encode("utf-8", "replace").decode()


def _lengths(voxel_size_um: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return sizes as they can travel: 1 µm, which is what an unknown one is taken for, where it is no length."""
    z, y, x = (um if 0 < um <= 1e9 else 1.0 for um in voxel_size_um)
    return z, y, x
