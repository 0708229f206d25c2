"""From the records that flow to the messages of cl1, and back. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, cast

import msgspec
from msgspec import UNSET
from numpy.typing import NDArray

from care_live.errors import ProtocolError
from care_live.images import Flag, Integrity, ModelIdentity, Plan, Restored, State, Volume, VolumeKey
from care_live.publish.views import look
from care_live.wire import arrays, messages
from care_live.wire.arrays import ArrayHeader, Buffer, Product
from care_live.wire.messages import View

MAX_PLANNED = 1_000_000
"""Volumes in a plan: a few bytes on the wire must not become gigabytes."""
MAX_SHORT = 20_000
"""Numbers in a plan that is said stack by stack, as every receiver of major 1 reads it; a longer one is grouped."""
FLOAT32_BITS = 23
"""Of its mantissa."""
MAX_NAME = 128
"""Characters of a name."""


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
        The ranges are reversed, or mean more volumes than any acquisition has.
    """
    singles = [messages.StackGroup(p=((one.p, one.p),), c=((one.c, one.c),), z=(), t=one.t) for one in header.stacks]
    groups = header.groups or ()
    _check_plan([*singles, *groups])
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


def model_header(model: ModelIdentity | None) -> messages.Model | None:
    return None if model is None else messages.Model(name=model.name[:64], sha256=model.sha256)


def products_of(record: Restored | Volume) -> dict[Product, tuple[NDArray[Any], tuple[float, float, float]]]:
    """Return every product that a record has, with its voxel size, (z, y, x) µm."""
    if isinstance(record, Volume):
        return {"raw": (record.pixels, record.voxel_size_um)}
    found: dict[Product, tuple[NDArray[Any], tuple[float, float, float]]] = {
        "raw": (record.volume.pixels, record.volume.voxel_size_um),
        "mean": (record.mean, record.voxel_size_um),
    }
    if record.laplace_scale is not None:
        found["laplace_scale"] = (record.laplace_scale, record.voxel_size_um)
    if record.disagreement is not None:
        found["disagreement"] = (record.disagreement, record.voxel_size_um)
    return found


def pictures(
    products: Mapping[Product, tuple[NDArray[Any], tuple[float, float, float]]], view: View
) -> tuple[tuple[ArrayHeader, ...], list[Buffer]]:
    """Encode the products that a view wants, that are there, and that reach into its region."""
    wanted = [product for product in dict.fromkeys(view.products) if product in products]
    made = [_picture(product, *products[product], view=view) for product in wanted]
    described = [picture for picture in made if picture is not None]
    return tuple(header for header, _ in described), [buffer for _, buffer in described]


def _picture(
    product: Product, volume: NDArray[Any], voxel_size_um: tuple[float, float, float], *, view: View
) -> tuple[ArrayHeader, Buffer] | None:
    looked = look(product, volume, view)
    if looked is None:
        return None
    seen, origin = looked
    z_um, y_um, x_um = voxel_size_um
    return arrays.encode(
        product,
        seen,
        voxel_size_um=(z_um, y_um * 2**view.level, x_um * 2**view.level),
        quantised=view.quantised,
        codec=view.codec,
        level=view.level,
        origin_px=origin,
    )


def volume_fields(record: Restored | Volume, state: State) -> dict[str, Any]:
    """Return what a volume message says besides its arrays, its place in the log and the time of sending."""
    raw = record if isinstance(record, Volume) else record.volume
    fields: dict[str, Any] = {
        "key": tuple(record.key),
        "c_in": raw.key.c,
        "state": state,
        "closed": raw.closed,
        "expected": raw.integrity.expected,
        "received": raw.integrity.received,
        "n_duplicates": raw.integrity.n_duplicates,
        "n_out_of_order": raw.integrity.n_out_of_order,
        "worst_gap_ms": raw.integrity.worst_gap_ms,
        "sequence_ids": raw.integrity.sequence_ids,
        "first_plane_us": raw.first_plane_ns // 1000,
        "last_plane_us": raw.last_plane_ns // 1000,
        "acquired_us": raw.acquired_us,
        "exposure_ms": raw.exposure_ms,
    }
    if isinstance(record, Restored):
        fields |= {
            "flags": tuple(sorted(record.flags)),
            "low": record.low,
            "high": record.high,
            "infer_us": int(record.infer_s * 1e6),
            "mantissa_bits": record.mantissa_bits if record.mantissa_bits < FLOAT32_BITS else UNSET,
        }
    return fields


def volume_of(message: messages.Volume, raw: NDArray[Any], voxel_size_um: tuple[float, float, float]) -> Volume:
    """Return the raw volume of a message."""
    return Volume(
        run_id=message.run or "",
        key=VolumeKey(message.key[0], message.key[1], message.c_in),
        pixels=raw,
        voxel_size_um=voxel_size_um,
        integrity=Integrity(
            message.expected,
            message.received,
            n_duplicates=message.n_duplicates,
            n_out_of_order=message.n_out_of_order,
            worst_gap_ms=message.worst_gap_ms,
            sequence_ids=message.sequence_ids,
        ),
        closed=message.closed,
        state=message.state,
        first_plane_ns=message.first_plane_us * 1000,
        last_plane_ns=message.last_plane_us * 1000,
        acquired_us=message.acquired_us,
        exposure_ms=message.exposure_ms,
    )


def flags_of(message: messages.Volume) -> frozenset[Flag]:
    """Return a message's flags; one that only a newer daemon knows is kept as it is."""
    return frozenset(cast(Flag, flag) for flag in message.flags)


def restored_of(message: messages.Volume, volume: Volume, products: Mapping[Product, NDArray[Any]]) -> Restored:
    """Return the restored volume of a message that has a model and a mean."""
    assert message.model is not None
    sizes = {header.product: header.voxel_size_um for header in message.arrays}
    return Restored(
        volume=volume,
        mean=products["mean"],
        laplace_scale=products.get("laplace_scale"),
        disagreement=products.get("disagreement"),
        voxel_size_um=sizes["mean"],
        low=message.low if message.low is not None else 0.0,
        high=message.high if message.high is not None else 0.0,
        model=ModelIdentity(message.model.name, message.model.sha256),
        flags=flags_of(message),
        infer_s=message.infer_us / 1e6,
        c_out=message.key[2],
        mantissa_bits=FLOAT32_BITS if message.mantissa_bits is UNSET else message.mantissa_bits,
    )
