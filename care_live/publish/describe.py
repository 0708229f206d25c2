"""From the records that flow to the messages of cl1, and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import UNSET
from numpy.typing import NDArray

from care_live.images import Flag, Integrity, ModelIdentity, NetworkInUse, Restored, State, Volume, VolumeKey
from care_live.maps import Array, Head
from care_live.pyramid import coarser, combine_of
from care_live.reasons import Choice
from care_live.wire import arrays, messages, trust_header
from care_live.wire.arrays import ArrayHeader, Buffer, Product
from care_live.wire.codec import fields_of, record_of
from care_live.wire.messages import View

FLOAT32_BITS = 23
"""Of its mantissa."""


def model_header(model: ModelIdentity | None) -> messages.Model | None:
    return None if model is None else _header(model)


def _header(model: ModelIdentity) -> messages.Model:
    return messages.Model(name=model.name[:64], sha256=model.sha256)


def network_fields(networks: Sequence[NetworkInUse], *, with_cards: bool) -> dict[str, Any]:
    """Return what a start says of the networks: the first card; all, where it does not restore everything."""
    cards = [dict(network.card) if with_cards else {} for network in networks]
    fields: dict[str, Any] = {"card": cards[0] if cards else {}}
    if any(network.channels for network in networks):
        shown = zip(networks, [{}, *cards[1:]], strict=True)
        fields["networks"] = tuple(
            messages.NetworkHeader(model=_header(one.identity), channels=one.channels, card=card) for one, card in shown
        )
    return fields


def networks_of(start: messages.Start) -> tuple[NetworkInUse, ...]:
    """Return the networks of a run with their channels."""
    model = identity_of(start.model)
    first = () if model is None else (NetworkInUse(model, start.card),)
    if start.networks is UNSET:
        return first
    return tuple(
        NetworkInUse(ModelIdentity(one.model.name, one.model.sha256), start.card if i == 0 else one.card, one.channels)
        for i, one in enumerate(start.networks)
    )


def pictures(record: Restored | Volume, view: View) -> tuple[tuple[ArrayHeader, ...], list[Buffer]]:
    """Encode the products of a record that a view names and that reach into its region."""
    raw = record if isinstance(record, Volume) else record.raw
    made = [] if raw is None else [_picture("raw", raw.pixels, view, raw.voxel_size_um)]
    if isinstance(record, Restored):
        made += [
            _picture(head, array, view, record.voxel_size_um, own_level=record.level_of(head))
            for head, array in record.maps.items()
        ]
    described = [picture for picture in made if picture is not None]
    return tuple(header for header, _ in described), [buffer for _, buffer in described]


def _picture(
    product: Product,
    array: NDArray[Any],
    view: View,
    voxel_size_um: tuple[float, float, float],
    *,
    own_level: int = 0,
) -> tuple[ArrayHeader, Buffer] | None:
    """Encode one product, or nothing; its voxel size is that of level 0."""
    looked = look(product, array, view, own_level=own_level) if product in view.wanted else None
    if looked is None:
        return None
    seen, origin = looked
    (z_um, y_um, x_um), level = voxel_size_um, max(view.level, own_level)
    return arrays.encode(
        product,
        seen,
        voxel_size_um=(z_um, y_um * 2**level, x_um * 2**level),
        quantised=view.quantised,
        codec=view.codec,
        level=level,
        origin_px=origin,
    )


def slab_message(slab: Restored, view: View, **sent: Any) -> tuple[messages.Slab, list[Buffer]]:
    """Return planes of a volume that is being restored as a message, and its arrays.

    Parameters
    ----------
    sent : run, session, and the time of sending

    Raises
    ------
    ProtocolError
        They can't travel.
    """
    z_first = slab.z.start if slab.z is not None else 0
    headers, buffers = pictures(slab, view)
    message = messages.Slab(
        **sent | {"model": model_header(slab.model)},
        key=slab.key,
        state="provisional",
        arrays=tuple(msgspec.structs.replace(header, origin_px=(z_first, 0, 0)) for header in headers),
        z_first=z_first,
        n_planes=slab.n_planes,
    )
    return message, buffers


def volume_fields(record: Restored | Volume, state: State) -> dict[str, Any]:
    """Return what a volume message says besides its arrays, its place in the log and the time of sending."""
    raw = record if isinstance(record, Volume) else record.volume
    fields = fields_of(messages.VolumeMessage, raw, raw.integrity) | {
        "key": tuple(record.key),
        "c_in": raw.key.c,
        "state": state,
        "live": UNSET if raw.live is None else raw.live,
        "first_plane_us": raw.first_plane_ns // 1000,
        "last_plane_us": raw.last_plane_ns // 1000,
    }
    if isinstance(record, Restored):
        fields |= {
            "sources": UNSET if record.sources == (raw.key,) else record.sources,
            "flags": tuple(sorted(record.flags)),
            "low": record.low,
            "high": record.high,
            "infer_us": int(record.infer_s * 1e6),
            "trust": trust_header.header_of(record.trust),
            "choice": UNSET if record.choice is None else _choice_header(record.choice),
            "mantissa_bits": record.mantissa_bits if record.mantissa_bits < FLOAT32_BITS else UNSET,
        }
    return fields


def _choice_header(choice: Choice) -> messages.StreamChoice:
    return messages.StreamChoice(choice.kind, choice.reason, dict(choice.figures), choice.detail[:1000])


def choice_of(message: messages.VolumeMessage) -> Choice | None:
    """Return how a volume was restored, and why so; None: not known."""
    sent = message.choice
    return None if sent is UNSET else Choice(sent.kind, sent.reason, sent.figures, sent.detail)


def volume_of(message: messages.VolumeMessage, raw: NDArray[Any], voxel_size_um: tuple[float, float, float]) -> Volume:
    """Return the raw volume of a message."""
    return record_of(
        Volume,
        message,
        run_id=message.run or "",
        key=VolumeKey(message.key[0], message.key[1], message.c_in),
        pixels=raw,
        voxel_size_um=voxel_size_um,
        integrity=record_of(Integrity, message),
        live=None if message.live is UNSET else message.live,
        first_plane_ns=message.first_plane_us * 1000,
        last_plane_ns=message.last_plane_us * 1000,
    )


def identity_of(model: messages.Model | None) -> ModelIdentity | None:
    return None if model is None else ModelIdentity(model.name, model.sha256)


def flags_of(message: messages.VolumeMessage) -> frozenset[Flag]:
    """Return a message's flags; one that only a newer daemon knows is kept as it is."""
    return frozenset(cast(Flag, flag) for flag in message.flags)


def restored_of(message: messages.VolumeMessage, volume: Volume, maps: Mapping[Head, Array]) -> Restored:
    """Return the restored volume of a message that has a model."""
    model = identity_of(message.model)
    assert model is not None
    sizes = (header.voxel_size_um for header in message.arrays if header.product != "raw")
    return Restored(
        key=VolumeKey(*message.key),
        sources=(volume.key,) if message.sources is UNSET else tuple(VolumeKey(*key) for key in message.sources),
        raw=volume,
        maps=maps,
        voxel_size_um=next(sizes, volume.voxel_size_um),
        low=message.low if message.low is not None else 0.0,
        high=message.high if message.high is not None else 0.0,
        model=model,
        flags=flags_of(message),
        infer_s=message.infer_us / 1e6,
        trust=trust_header.trust_of(message.trust),
        mantissa_bits=FLOAT32_BITS if message.mantissa_bits is UNSET else message.mantissa_bits,
        choice=choice_of(message),
    )


def look(
    product: Product, volume: NDArray[Any], view: View, *, own_level: int = 0
) -> tuple[NDArray[Any], tuple[int, int, int]] | None:
    """Return the wanted part of one product and where it begins; None: the region begins outside of it.

    The region is cut out before it is shrunk, so that a small one costs little.

    Parameters
    ----------
    volume : (z, y, x) camera counts or float32
    own_level : that the array has; a finer one can't be given

    Returns
    -------
    (z, y, x) of the same dtype, and the (z, y, x) of its first voxel, in voxels of the level
    """
    if own_level:
        view = _seen_from(view, own_level)
    blocks = (1, *(min(2**view.level, size) for size in volume.shape[1:]))
    sizes = tuple(size // block for size, block in zip(volume.shape, blocks, strict=True))
    z, y, x = view.origin_px
    if any(start >= size for start, size in zip((z, y, x), sizes, strict=True)):
        return None
    ends = (
        min(start + length, size) for start, length, size in zip((z, y, x), view.shape_px or sizes, sizes, strict=True)
    )
    part = tuple(slice(start * block, end * block) for start, end, block in zip((z, y, x), ends, blocks, strict=True))
    return downsample(product, volume[part], view.level), (z, y, x)


def _seen_from(view: View, own_level: int) -> View:
    """Return a view as it is of an array that has a level of its own: what is left to shrink, and the region there."""
    coarse = 2 ** max(own_level - view.level, 0)
    (z, y, x), shape = view.origin_px, view.shape_px
    if shape is not None:
        ends = (-(-(first + n) // coarse) for first, n in zip((y, x), shape[1:], strict=True))
        shape = (shape[0], *(end - first // coarse for first, end in zip((y, x), ends, strict=True)))
    level = max(view.level - own_level, 0)
    return msgspec.structs.replace(view, level=level, origin_px=(z, y // coarse, x // coarse), shape_px=shape)


def downsample(product: Product, volume: NDArray[Any], level: int) -> NDArray[Any]:
    """Shrink rows and columns by 2^level: the average of raw and mean; of other maps what `MapKind.coding` says.

    Planes stay: z steps are coarse already. Rows and columns that fill no whole block are left out, but for a
    volume smaller than a block.
    """
    return coarser(volume, level, combine_of(product), whole=True)
