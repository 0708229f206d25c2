"""A plan in a message and back: volumes that are planned alike go together. Pure; for cl1 and for the tap link."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

import msgspec
from msgspec import UNSET

from care_live.errors import ConfigError, ProtocolError
from care_live.images import Plan, VolumeKey
from care_live.wire import messages

MAX_PLANNED = 1_000_000
"""Volumes in a plan: a few bytes on the wire must not become gigabytes."""
MAX_SHORT = 20_000
"""Numbers in a plan that is said stack by stack, as every receiver of major 1 reads it; a longer one is grouped."""
MAX_NAME = 128
"""Characters of a name."""
MAX_DEPTH = 65_536
"""Planes of one volume, as in a volume message."""
MAX_POSITIONS, MAX_CHANNELS = 65_536, 1024


def check(plan: Plan) -> None:
    """Refuse a plan that no message takes, before anything is exposed for it.

    Raises
    ------
    ConfigError
        It has too many volumes, planes, positions or channels.
    """
    deepest = max(map(len, plan.stacks.values()), default=0)
    for n, most, what in (
        (len(plan.stacks), MAX_PLANNED, "volumes"),
        (deepest, MAX_DEPTH, "planes in a volume"),
        (len(plan.positions), MAX_POSITIONS, "positions"),
        (len(plan.channels), MAX_CHANNELS, "channels"),
    ):
        if n > most:
            raise ConfigError(f"the acquisition has {n} {what}: at most {most} are taken; plan a shorter one")


def plan_header(plan: Plan) -> messages.PlanHeader:
    """Say a plan in few words: volumes with the same planes go together, their indices as ranges."""
    stacks = _stacks(plan)
    is_short = sum(2 + len(one.z) + 2 * len(one.t) for one in stacks) <= MAX_SHORT
    return messages.PlanHeader(
        stacks=stacks if is_short else (),
        groups=UNSET if is_short else _groups(stacks),
        shape_px=plan.shape_px,
        dtype="uint8" if plan.dtype == "uint8" else "uint16",
        voxel_size_um=_lengths(plan.voxel_size_um),
        channels=tuple(map(_name, plan.channels)),
        positions=tuple(map(_name, plan.positions)),
        interval_s=plan.interval_s if 0 <= plan.interval_s < 1e12 else 0.0,
        endless=plan.endless,
    )


def without(header: messages.PlanHeader, left_out: Collection[str]) -> messages.PlanHeader:
    """Return a plan without the parts that don't fit: positions, channels, stacks."""
    return msgspec.structs.replace(
        header,
        positions=() if "positions" in left_out else header.positions,
        channels=() if "channels" in left_out else header.channels,
        stacks=() if "stacks" in left_out else header.stacks,
        groups=UNSET if "stacks" in left_out else header.groups,
    )


def _stacks(plan: Plan) -> tuple[messages.Stacks, ...]:
    alike: dict[tuple[int, int, tuple[int, ...]], list[int]] = defaultdict(list)
    for key, planes in plan.stacks.items():
        alike[key.p, key.c, tuple(planes)].append(key.t)
    return tuple(messages.Stacks(p=p, c=c, z=z, t=_ranges(times)) for (p, c, z), times in alike.items())


def _groups(stacks: Iterable[messages.Stacks]) -> tuple[messages.StackGroup, ...]:
    """Put together first the positions, then the channels, that are planned alike."""
    positions: dict[tuple[int, tuple[int, ...], messages.Ranges], list[int]] = defaultdict(list)
    for one in stacks:
        positions[one.c, one.z, one.t].append(one.p)
    channels: dict[tuple[messages.Ranges, tuple[int, ...], messages.Ranges], list[int]] = defaultdict(list)
    for (c, z, t), where in positions.items():
        channels[_ranges(where), z, t].append(c)
    return tuple(messages.StackGroup(p=p, c=_ranges(c), z=_ranges(z), t=t) for (p, z, t), c in channels.items())


def plan_of(header: messages.PlanHeader) -> Plan:
    """Return the plan that `plan_header` said.

    Raises
    ------
    ProtocolError
        The ranges are reversed, or mean more volumes, planes, positions or channels than any acquisition has.
    """
    singles = [messages.StackGroup(p=((one.p, one.p),), c=((one.c, one.c),), z=(), t=one.t) for one in header.stacks]
    groups = header.groups or ()
    _check_plan([*singles, *groups])
    if len(header.positions) > MAX_POSITIONS or len(header.channels) > MAX_CHANNELS:
        named = f"{len(header.positions)} positions and {len(header.channels)} channels"
        raise ProtocolError(f"a plan of {named}: at most {MAX_POSITIONS} and {MAX_CHANNELS} are taken")
    stacks: dict[VolumeKey, tuple[int, ...]] = {}
    for one in header.stacks:
        stacks.update({VolumeKey(t, one.p, one.c): one.z for t in _numbers(one.t)})
    for group in groups:
        planes = tuple(_numbers(group.z))
        times, positions, channels = (tuple(_numbers(ranges)) for ranges in (group.t, group.p, group.c))
        stacks.update({VolumeKey(t, p, c): planes for t in times for p in positions for c in channels})
    return Plan(
        stacks=stacks,
        shape_px=header.shape_px,
        dtype=header.dtype,
        voxel_size_um=header.voxel_size_um,
        channels=header.channels,
        positions=header.positions,
        interval_s=header.interval_s,
        endless=header.endless,
    )


def _check_plan(groups: Iterable[messages.StackGroup]) -> None:
    """Refuse what would become gigabytes, before a single volume of it is made."""
    n_volumes = n_planes = 0
    for group in groups:
        volumes = _count(group.t) * _count(group.p) * _count(group.c)
        n_volumes, n_planes = n_volumes + volumes, n_planes + _count(group.z)
        if _count(group.z) > MAX_DEPTH:
            raise ProtocolError(f"a plan with volumes of {_count(group.z)} planes: at most {MAX_DEPTH} are taken")
    if n_volumes > MAX_PLANNED or n_planes > MAX_PLANNED:
        raise ProtocolError(f"a plan of {n_volumes} volumes and {n_planes} planes: at most {MAX_PLANNED} are taken")


def _count(ranges: messages.Ranges) -> int:
    if any(last < first for first, last in ranges):
        raise ProtocolError(f"a plan has a reversed range; at most {MAX_PLANNED} are taken, each from low to high")
    return sum(last - first + 1 for first, last in ranges)


def _numbers(ranges: messages.Ranges) -> Iterator[int]:
    return (number for first, last in ranges for number in range(first, last + 1))


def _name(said: str) -> str:
    """Return a name as it can travel: at most 128 characters, all of them Unicode's."""
    return said[:MAX_NAME].encode("utf-8", "replace").decode()


def _lengths(voxel_size_um: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return sizes as they can travel: 1 µm, which is what an unknown one is taken for, where it is no length."""
    z, y, x = (um if 0 < um <= 1e9 else 1.0 for um in voxel_size_um)
    return z, y, x


def _ranges(numbers: Iterable[int]) -> messages.Ranges:
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return tuple(ranges)
