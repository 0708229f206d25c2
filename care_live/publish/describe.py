"""From the records that flow to the messages of cl1, and back. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, cast

from numpy.typing import NDArray

from care_live.errors import ProtocolError
from care_live.images import Flag, Integrity, ModelIdentity, Plan, Restored, State, Volume, VolumeKey
from care_live.publish.views import look
from care_live.wire import arrays, messages
from care_live.wire.arrays import ArrayHeader, Buffer, Product
from care_live.wire.messages import View

MAX_PLANNED = 1_000_000
"""Volumes in a plan: a few bytes on the wire must not become gigabytes."""


def plan_header(plan: Plan) -> messages.PlanHeader:
    """Say a plan in few words: volumes with the same planes go together, their time points as ranges."""
    alike: dict[tuple[int, int, tuple[int, ...]], list[int]] = defaultdict(list)
    for key, planes in plan.stacks.items():
        alike[key.p, key.c, tuple(planes)].append(key.t)
    return messages.PlanHeader(
        stacks=tuple(
            messages.Stacks(p=p, c=c, z=planes, t=_ranges(time_points)) for (p, c, planes), time_points in alike.items()
        ),
        shape_px=plan.shape_px,
        dtype="uint8" if plan.dtype == "uint8" else "uint16",
        voxel_size_um=plan.voxel_size_um,
        channels=plan.channels,
        positions=plan.positions,
        interval_s=plan.interval_s,
        endless=plan.endless,
    )


def plan_of(header: messages.PlanHeader) -> Plan:
    """Return the plan that `plan_header` said.

    Raises
    ------
    ProtocolError
        The ranges are reversed, or mean more volumes than any acquisition has.
    """
    lengths = [last - first + 1 for stacks in header.stacks for first, last in stacks.t]
    if any(length < 1 for length in lengths) or sum(lengths) > MAX_PLANNED:
        raise ProtocolError(
            f"a plan of {sum(lengths)} volumes in {len(lengths)} ranges: at most {MAX_PLANNED} are taken"
        )
    return Plan(
        stacks={
            VolumeKey(t, stacks.p, stacks.c): stacks.z
            for stacks in header.stacks
            for first, last in stacks.t
            for t in range(first, last + 1)
        },
        shape_px=header.shape_px,
        dtype=header.dtype,
        voxel_size_um=header.voxel_size_um,
        channels=header.channels,
        positions=header.positions,
        interval_s=header.interval_s,
        endless=header.endless,
    )


def _ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
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
    """Encode the products that a view wants and that are there."""
    described = [
        _picture(product, *products[product], view=view)
        for product in dict.fromkeys(view.products)
        if product in products
    ]
    return tuple(header for header, _ in described), [buffer for _, buffer in described]


def _picture(
    product: Product, volume: NDArray[Any], voxel_size_um: tuple[float, float, float], *, view: View
) -> tuple[ArrayHeader, Buffer]:
    seen, origin = look(product, volume, view)
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
    )
