"""Protocol cl1 between records and bytes: a pure encoder, and a decoder that raises nothing but `ProtocolError`.

A message is ``[header, *buffers]``: the header is JSON, and only volumes and slabs have buffers, one for each of
their array headers. Never pickle. cl1.md is the specification.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar, get_args

import msgspec
from numpy.typing import NDArray

from care_live.errors import ProtocolError
from care_live.wire import arrays
from care_live.wire.arrays import Buffer
from care_live.wire.messages import MAX_ARRAYS, PROTOCOL, Message, Request, Slab, Volume

MAX_HEADER_BYTES = 1024 * 1024
MAX_REQUEST_BYTES = 16 * 1024


class UnknownTypeError(ProtocolError):
    """A message of this protocol, of a type that came after this side was written: drop it, and go on."""


class _Envelope(msgspec.Struct):
    protocol: Annotated[str, msgspec.Meta(max_length=32)]
    type: Annotated[str, msgspec.Meta(max_length=32)]


_Header = TypeVar("_Header", Message, Request)

_encoder = msgspec.json.Encoder()
_envelopes = msgspec.json.Decoder(_Envelope)
_messages: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_TYPES = {kind.__struct_config__.tag for kind in (*get_args(Message), *get_args(Request))}
_PROTOCOL = re.compile(r"^cl(\d{1,9})$")


def encode(message: Message, buffers: Sequence[Buffer] = ()) -> list[Buffer]:
    """Return the parts of a message; buffers are not copied.

    Raises
    ------
    ProtocolError
        The header does not fit.
    """
    header = _encoder.encode(message)
    if len(header) > MAX_HEADER_BYTES:
        raise ProtocolError(f"header of {len(header)} bytes: at most {MAX_HEADER_BYTES} travel")
    return [header, *buffers]


def encode_request(request: Request) -> list[Buffer]:
    """Return the parts of a request."""
    return [_encoder.encode(request)]


def decode(parts: Sequence[Buffer]) -> tuple[Message, tuple[NDArray[Any], ...]]:
    """Return a message and its arrays as codes (`arrays.values` says what they mean).

    Raises
    ------
    ProtocolError
        Anything about the bytes is not as the specification says. Nothing else is ever raised.
    """
    if not 1 <= len(parts) <= 1 + MAX_ARRAYS:
        raise ProtocolError(f"message of {len(parts)} parts: wanted a header and at most {MAX_ARRAYS} arrays")
    message = _decode_header(parts[0], MAX_HEADER_BYTES, _messages)
    described = message.arrays if isinstance(message, Volume | Slab) else ()
    if len(described) != len(parts) - 1:
        raise ProtocolError(f"header describes {len(described)} arrays, {len(parts) - 1} came")
    if len({header.product for header in described}) != len(described):
        raise ProtocolError("a product comes twice in one message")
    if isinstance(message, Slab):
        _check_place(message)
    return message, tuple(map(arrays.decode, described, parts[1:]))


def _check_place(slab: Slab) -> None:
    """Refuse planes that lie outside their volume, and volumes that nobody could hold."""
    planes, rows, columns = slab.arrays[0].shape
    if any(header.shape != slab.arrays[0].shape for header in slab.arrays):
        raise ProtocolError("the arrays of a slab differ in shape")
    if slab.z_first + planes > slab.n_planes:
        raise ProtocolError(f"planes {slab.z_first} to {slab.z_first + planes} of a volume of {slab.n_planes}")
    if (whole_bytes := 4 * slab.n_planes * rows * columns) > arrays.MAX_BYTES:
        raise ProtocolError(f"a volume of {whole_bytes} bytes: at most {arrays.MAX_BYTES} are taken")


def decode_request(parts: Sequence[Buffer]) -> Request:
    """Return a request.

    Raises
    ------
    ProtocolError
        Anything about the bytes is not as the specification says. Nothing else is ever raised.
    """
    if len(parts) != 1:
        raise ProtocolError(f"request of {len(parts)} parts: wanted one")
    return _decode_header(parts[0], MAX_REQUEST_BYTES, _requests)


def _decode_header(part: Buffer, limit_bytes: int, decoder: msgspec.json.Decoder[_Header]) -> _Header:
    data = arrays.as_bytes(part)
    if data.nbytes > limit_bytes:
        raise ProtocolError(f"header of {data.nbytes} bytes: at most {limit_bytes} are taken")
    try:
        envelope = _envelopes.decode(data)
        _check_major(envelope.protocol)
        if envelope.type not in _TYPES:
            raise UnknownTypeError(f"message of type {envelope.type!r} is not known here")
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"header is no {PROTOCOL} message: {str(error)[:200]}") from error


def _check_major(protocol: str) -> None:
    match = _PROTOCOL.match(protocol)
    if match is None:
        raise ProtocolError(f"protocol {protocol!r} is not known: this side speaks {PROTOCOL}")
    if match[1] != PROTOCOL.removeprefix("cl"):
        raise ProtocolError(f"protocol {protocol} is not spoken here, {PROTOCOL} is: update the older side")
