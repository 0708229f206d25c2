"""Records as bytes and back: what is encoded can be decoded, and no other error comes out than that of the codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import pytest

from care_live.errors import ProtocolError, StoreError
from care_live.wire.codec import Codec, fields_of, record_of


class Plane(msgspec.Struct, frozen=True, tag="plane"):
    z: int
    light: float = 1.0


class End(msgspec.Struct, frozen=True, tag="end"):
    why: Literal["finished", "aborted"]


@dataclass(frozen=True, slots=True)
class Exposure:
    light: float
    camera: str


@pytest.fixture(params=["json", "msgpack"])
def codec(request: pytest.FixtureRequest) -> Codec[Plane | End]:
    return Codec(Plane | End, "note", limit_bytes=200, form=request.param)


def test_what_goes_in_comes_out(codec: Codec[Plane | End]) -> None:
    for record in (Plane(3, 0.5), End("aborted")):
        assert codec.decode(codec.encode(record)) == record


def test_a_number_of_numpy_is_written_as_a_number(codec: Codec[Plane | End]) -> None:
    assert codec.decode(codec.encode(Plane(np.int64(3)))) == Plane(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [Plane("3"), End("tired"), Plane(object())])  # type: ignore[arg-type]
def test_what_no_reader_takes_is_not_written(codec: Codec[Plane | End], wrong: Plane | End) -> None:
    with pytest.raises(ProtocolError):
        codec.encode(wrong)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"{", b'{"type": "weather"}', b"[" * 100])
def test_nonsense_raises_the_error_of_the_codec_and_no_other(text: bytes) -> None:
    codec: Codec[Plane | End] = Codec(Plane | End, "note", refusal=StoreError)
    with pytest.raises(StoreError, match="note is invalid"):
        codec.decode(text)


def test_a_text_that_is_too_long_is_refused_before_it_is_read(codec: Codec[Plane | End]) -> None:
    with pytest.raises(ProtocolError, match="at most 200"):
        codec.decode(b" " * 201)


def test_fields_of_the_same_name_are_taken_over_and_others_given() -> None:
    assert record_of(Plane, Exposure(2.5, "left"), z=4) == Plane(4, 2.5)
    assert fields_of(Plane, Exposure(2.5, "left"), Plane(7)) == {"light": 1.0, "z": 7}, "the last one has it"


def test_fields_without_slots_are_taken_over_too() -> None:
    @dataclass
    class Plain:
        z: int

    assert record_of(Plane, Plain(4)) == Plane(4)
