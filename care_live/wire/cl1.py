"""Protocol cl1 between records and bytes: a pure encoder, and a decoder that raises nothing but `ProtocolError`.

A message is ``[header, *buffers]``: the header is JSON, and only volumes and slabs have buffers, one for each of
their array headers. Never pickle. cl1.md is the specification.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar, cast, get_args

import msgspec
from numpy.typing import NDArray

from care_live.errors import ProtocolError
from care_live.wire import arrays
from care_live.wire.arrays import PRODUCTS, Buffer
from care_live.wire.codec import Codec
from care_live.wire.messages import MAX_ARRAYS, PROTOCOL, Message, Slab, VolumeMessage, WatcherRequest

MAX_HEADER_BYTES = 1024 * 1024
MAX_REQUEST_BYTES = 16 * 1024
Header = TypeVar("Header")


class UnknownTypeError(ProtocolError):
    """A message of this protocol, of a type that came after this side was written: drop it, and go on."""


class _Envelope(msgspec.Struct):
    protocol: Annotated[str, msgspec.Meta(max_length=32)]
    type: Annotated[str, msgspec.Meta(max_length=32)]


_envelopes = msgspec.json.Decoder(_Envelope)
_TYPES = {kind.__struct_config__.tag: kind for kind in (*get_args(Message), *get_args(WatcherRequest))}
_PROTOCOL = re.compile(r"cl(\d{1,9})")


def _look(text: memoryview) -> None:
    """Refuse another protocol, and types that only a newer one has."""
    envelope = _envelopes.decode(text)
    match = _PROTOCOL.fullmatch(envelope.protocol)
    if match is None:
        raise ProtocolError(f"protocol {envelope.protocol!r} is not known: this side has {PROTOCOL}")
    if match[1] != PROTOCOL.removeprefix("cl"):
        raise ProtocolError(
            f"protocol {envelope.protocol} is not known: this side has {PROTOCOL}; update the older side"
        )
    if envelope.type not in _TYPES:
        raise UnknownTypeError(f"message of type {envelope.type!r} is not known here")


class _HeaderCodec(Codec[Header]):
    """In a header null is the same as absent, for every optional field."""

    def _decode(self, text: bytes | memoryview) -> Header:
        try:
            return super()._decode(text)
        except msgspec.ValidationError:
            said = msgspec.json.decode(text)
            kind = _TYPES[said["type"]]
            if kind not in get_args(self.kinds):
                raise
            return cast(Header, msgspec.convert(_without_nulls(kind, said), kind))


_messages: _HeaderCodec[Message] = _HeaderCodec(Message, "header", limit_bytes=MAX_HEADER_BYTES, look=_look)
_requests: _HeaderCodec[WatcherRequest] = _HeaderCodec(
    WatcherRequest, "request", limit_bytes=MAX_REQUEST_BYTES, look=_look
)


def encode(message: Message, buffers: Sequence[Buffer] = ()) -> list[Buffer]:
    """Return the parts of a message; buffers are not copied.

    What is encoded is checked as strictly as what is decoded, so that no receiver refuses it.

    Raises
    ------
    ProtocolError
        The header does not fit, or a field is not as the specification says.
    """
    header = _messages.encode(message)
    _check_arrays(message, len(buffers))
    return [header, *buffers]


def encode_request(request: WatcherRequest) -> list[Buffer]:
    """Return the parts of a request.

    Raises
    ------
    ProtocolError
        A field is not as the specification says, or the request is too long.
    """
    return [_requests.encode(request)]


def decode(parts: Sequence[Buffer]) -> tuple[Message, tuple[NDArray[Any], ...]]:
    """Return a message and its arrays as codes (`arrays.values` says what they mean).

    Arrays of a product that only a newer side knows are left out.

    Raises
    ------
    ProtocolError
        The bytes differ from the specification. No other error is raised.
    """
    if not 1 <= len(parts) <= 1 + MAX_ARRAYS:
        raise ProtocolError(f"message of {len(parts)} parts: wanted a header and at most {MAX_ARRAYS} arrays")
    message = _messages.decode(arrays.as_bytes(parts[0]))
    described = _check_arrays(message, len(parts) - 1)
    known = [(header, part) for header, part in zip(described, parts[1:], strict=True) if header.product in PRODUCTS]
    if isinstance(message, VolumeMessage | Slab) and len(known) < len(described):
        message = msgspec.structs.replace(message, arrays=tuple(header for header, _ in known))
    return message, tuple(arrays.decode(header, part) for header, part in known)


def _check_arrays(message: Message, n_buffers: int) -> tuple[arrays.ArrayHeader, ...]:
    """Return the array headers of a message, once each product comes once and has its buffer."""
    described = message.arrays if isinstance(message, VolumeMessage | Slab) else ()
    if len(described) != n_buffers:
        raise ProtocolError(f"header describes {len(described)} arrays, the message has {n_buffers} buffers")
    if len({header.product for header in described}) != len(described):
        raise ProtocolError("a product comes twice in one message")
    if isinstance(message, Slab):
        _check_place(message)
    return described


def _check_place(slab: Slab) -> None:
    """Refuse planes that lie outside their volume, and volumes that are too large to hold."""
    planes, rows, columns = slab.arrays[0].shape
    if any(header.shape != slab.arrays[0].shape for header in slab.arrays):
        raise ProtocolError("the arrays of a slab differ in shape")
    if slab.z_first + planes > slab.n_planes:
        raise ProtocolError(f"planes {slab.z_first} to {slab.z_first + planes} of a volume of {slab.n_planes}")
    if (whole_bytes := 4 * slab.n_planes * rows * columns) > arrays.MAX_BYTES:
        raise ProtocolError(f"a volume of {whole_bytes} bytes: at most {arrays.MAX_BYTES} are taken")


def decode_request(parts: Sequence[Buffer]) -> WatcherRequest:
    """Return a request.

    Raises
    ------
    ProtocolError
        The bytes differ from the specification. No other error is raised.
    """
    if len(parts) != 1:
        raise ProtocolError(f"request of {len(parts)} parts: wanted one")
    return _requests.decode(arrays.as_bytes(parts[0]))


def _without_nulls(kind: type[msgspec.Struct], said: Any) -> Any:
    """Return the JSON of a record without its optional fields that are null, in the records within it too."""
    if isinstance(said, list):
        return [_without_nulls(kind, one) for one in said]
    if not isinstance(said, dict):
        return said
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    required = {name for name, field in fields.items() if field.required}
    left = {name: value for name, value in said.items() if value is not None or name in required}
    inner = {name: found for name, field in fields.items() if (found := _record_in(field.type)) is not None}
    return left | {name: _without_nulls(found, left[name]) for name, found in inner.items() if name in left}


def _record_in(annotation: Any) -> type[msgspec.Struct] | None:
    """Return the record that a field holds, be it one, several or none."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _record_in(inner)) is not None), None)
