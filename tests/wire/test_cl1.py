"""Protocol cl1: golden bytes, round trips, and what a hostile peer may send."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import blosc2
import msgspec
import numpy as np
import psutil
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from care_live.checksum import crc32c
from care_live.errors import ProtocolError
from care_live.wire import arrays, cl1
from care_live.wire.arrays import Buffer
from care_live.wire.messages import VolumeMessage
from tests.make import messages

GOLDEN = Path(__file__).parent / "golden"
"""Each message as ``NAME.cl1``: for each part its length in ASCII, a line feed, and its bytes."""


def joined(parts: list[Buffer]) -> bytes:
    raw = [bytes(arrays.as_bytes(part)) for part in parts]
    return b"".join(b"%d\n%s" % (len(part), part) for part in raw)


def raw_parts(message: Any, buffers: list[Buffer]) -> list[bytes]:
    return [bytes(arrays.as_bytes(part)) for part in cl1.encode(message, buffers)]


# -- golden bytes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(messages.messages()))
def test_messages_are_the_golden_bytes_and_back(name: str) -> None:
    message, buffers = messages.messages()[name]
    golden = (GOLDEN / f"{name}.cl1").read_bytes()
    assert joined(cl1.encode(message, buffers)) == golden
    decoded, codes = cl1.decode(messages.parted(golden))
    assert decoded == message
    for code, buffer in zip(codes, buffers, strict=True):
        np.testing.assert_array_equal(code, buffer)


@pytest.mark.parametrize("name", sorted(messages.REQUESTS))
def test_requests_are_the_golden_bytes_and_back(name: str) -> None:
    golden = (GOLDEN / f"{name}.cl1").read_bytes()
    assert joined(cl1.encode_request(messages.REQUESTS[name])) == golden
    assert cl1.decode_request(messages.parted(golden)) == messages.REQUESTS[name]


@pytest.mark.parametrize("name", sorted(messages.REQUESTS))
def test_null_is_the_same_as_absent_in_every_optional_field(name: str) -> None:
    kind = type(messages.REQUESTS[name])
    said = msgspec.json.decode(cl1.encode_request(messages.REQUESTS[name])[0])
    optional = [field for field in msgspec.structs.fields(kind) if not field.required]
    assert "view" in said or name == "hello"
    for field in optional:
        without = msgspec.json.encode({key: value for key, value in said.items() if key != field.encode_name})
        null = msgspec.json.encode(said | {field.encode_name: None})
        if field.encode_name == "protocol":
            with pytest.raises(ProtocolError):
                cl1.decode_request([null])
        else:
            assert cl1.decode_request([null]) == cl1.decode_request([without])


def test_the_specification_names_every_field() -> None:
    text = (Path(cl1.__file__).parent / "cl1.md").read_text(encoding="utf-8")
    for message, _ in messages.messages().values():
        for field in msgspec.structs.fields(message):
            assert f"`{field.encode_name}`" in text, f"{type(message).__name__}.{field.name} is not in cl1.md"
    for request in messages.REQUESTS.values():
        for field in msgspec.structs.fields(request):
            assert f"`{field.encode_name}`" in text, f"{type(request).__name__}.{field.name} is not in cl1.md"


def test_an_array_that_only_a_newer_side_knows_is_left_out() -> None:
    known, counts = arrays.encode("raw", np.full((1, 2, 3), 7, np.uint16), voxel_size_um=messages.VOXEL_UM)
    later = msgspec.structs.replace(known, product="sharpness", unit="1")
    message, _ = messages.messages()["volume"]
    assert isinstance(message, VolumeMessage)
    parts = cl1.encode(msgspec.structs.replace(message, arrays=(later, known)), [counts, counts])
    came, codes = cl1.decode(parts)
    assert came.arrays == (known,)  # type: ignore[union-attr]
    np.testing.assert_array_equal(codes[0], counts)


def test_nan_from_another_sender_is_refused() -> None:
    message, buffers = messages.volume()
    sent = messages.MEAN.copy()
    sent[0, 0, 0] = np.nan
    headers = list(message.arrays)
    headers[1] = msgspec.structs.replace(headers[1], crc32c=crc32c(sent))
    parts = cl1.encode(msgspec.structs.replace(message, arrays=tuple(headers)), [buffers[0], sent, *buffers[2:]])
    with pytest.raises(ProtocolError, match="NaN"):
        cl1.decode(parts)


def test_what_arrives_cannot_be_written_to() -> None:
    _, codes = cl1.decode(raw_parts(*messages.volume()))
    for code in codes:
        with pytest.raises(ValueError, match="read-only"):
            code[0, 0, 0] = 1


# -- versions ---------------------------------------------------------------------------------------------------


def test_an_unknown_field_is_ignored() -> None:
    for name, (message, buffers) in messages.messages().items():
        parts = raw_parts(message, buffers)
        tree = msgspec.json.decode(parts[0]) | {"since_1_1": {"deep": [1, 2]}}
        assert cl1.decode([msgspec.json.encode(tree), *parts[1:]])[0] == message, name


def test_a_type_that_only_a_newer_daemon_knows_is_an_error_of_its_own() -> None:
    with pytest.raises(cl1.UnknownTypeError, match="'weather'"):
        cl1.decode([b'{"protocol":"cl1","type":"weather"}'])


@pytest.mark.parametrize("protocol", ["cl2", "cl10", "cl0"])
def test_another_major_version_is_refused_by_name(protocol: str) -> None:
    header = raw_parts(messages.NOTES["heartbeat"], [])[0].replace(b'"cl1"', f'"{protocol}"'.encode())
    with pytest.raises(ProtocolError, match=f"protocol {protocol} is not known: this side has cl1"):
        cl1.decode([header])
    with pytest.raises(ProtocolError, match=f"protocol {protocol} is not known"):
        cl1.decode_request([b'{"protocol":"%s","type":"new-in-it"}' % protocol.encode()])


# -- hostile bytes ----------------------------------------------------------------------------------------------


def with_array(**changes: Any) -> list[bytes]:
    """A good volume whose mean is described wrongly."""
    parts = raw_parts(*messages.volume())
    tree = msgspec.json.decode(parts[0])
    tree["arrays"][1] |= changes
    return [msgspec.json.encode(tree), *parts[1:]]


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [-1, 3, 4]},
        {"shape": [2, 3]},
        {"shape": [0, 3, 4]},
        {"shape": [65536, 65536, 65536]},
        {"shape": [3, 2, 5]},
        {"shape": [2.0, 3, 4.5]},
        {"dtype": "|V8"},
        {"dtype": ">f4"},
        {"dtype": "|O"},
        {"dtype": "<u2"},
        {"coding": "affine"},
        {"coding": "log2"},
        {"codec": "zstd"},
        {"product": "raw"},
        {"product": "laplace_scale"},
        {"axes": "zzx"},
        {"nbytes": 95},
        {"nbytes": 2**40},
        {"crc32c": 1},
        {"crc32c": -1},
        {"level": 9},
        {"step": 0.0},
        {"zero": 1e300},
        {"voxel_size_um": [0, 1, 1]},
        {"origin_px": [-1, 0, 0]},
    ],
    ids=str,
)
def test_a_header_that_lies_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        cl1.decode(with_array(**changes))


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [b"null"],
        [b"[" * 900_000],
        [b'{"protocol":"cl1","type":"heartbeat","x":' + b"[" * 900_000],
        [b'{"protocol":"cl1","type":"start","summary":{"a":' + b'{"a":' * 100_000],
        [b" " * 10_000_000],
        [b'{"protocol":"cl1","type":"volume"}'],
        [b"\xff\xfe\x00"],
        [b'{"protocol":NaN,"type":"x"}'],
        [b"{}"] * 6,
    ],
    ids=range(11),
)
def test_nonsense_is_refused(parts: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        cl1.decode(parts)
    with pytest.raises(ProtocolError):
        cl1.decode_request(parts)


def test_every_bit_flip_in_an_array_is_caught() -> None:
    parts = raw_parts(*messages.volume())
    for part in range(1, len(parts)):
        for bit in range(0, 8 * len(parts[part]), 7):
            flipped = bytearray(parts[part])
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(ProtocolError):
                cl1.decode([*parts[:part], bytes(flipped), *parts[part + 1 :]])


def memory_peak_mb() -> float:
    """Return the most memory that this process has ever had."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset / 1e6)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def test_a_decompression_bomb_is_refused_before_it_is_unpacked() -> None:
    """60 kB that would become 1 GB, described as 96 bytes, and as what it really is but for the limit."""
    bomb: bytes = blosc2.compress2(np.zeros(2**30, np.uint8), typesize=4, clevel=9)
    assert len(bomb) < 200_000
    parts = with_array(codec="blosc2", nbytes=len(bomb), crc32c=crc32c(bomb))
    before = memory_peak_mb()
    with pytest.raises(ProtocolError, match="unpacks to 1073741824 bytes: wanted 96"):
        cl1.decode([*parts[:2], bomb, *parts[3:]])
    huge = with_array(codec="blosc2", shape=[64, 16384, 16384], nbytes=len(bomb), crc32c=crc32c(bomb))
    with pytest.raises(ProtocolError, match="at most"):
        cl1.decode([*huge[:2], bomb, *huge[3:]])
    assert memory_peak_mb() - before < 10


def mutated(parts: list[bytes], chance: random.Random) -> list[bytes]:
    """Change a few things anywhere: bytes, lengths, parts, numbers and words of the header."""
    parts = [bytes(part) for part in parts]
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(parts)) if parts else 0
        kind = chance.randrange(8)
        if not parts or kind == 0:
            parts.insert(at, chance.randbytes(chance.randrange(40)))
        elif kind == 1:
            del parts[at]
        elif kind == 2:
            parts[at] = parts[at][: chance.randrange(len(parts[at]) + 1)]
        elif kind == 3:
            parts[at] += chance.randbytes(chance.randrange(1, 9))
        elif kind == 4:
            chance.shuffle(parts)
        else:
            parts[at] = scribbled(parts[at], chance)
    return parts


WORDS = [
    b"-1",
    b"1e999",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"true",
    b"18446744073709551616",
    b'"cl2"',
    b'"\\u0000"',
    b"0.5",
]


def scribbled(part: bytes, chance: random.Random) -> bytes:
    changed = bytearray(part or b"x")
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed))
        if chance.random() < 0.5:
            changed[at] = chance.randrange(256)
        else:
            changed[at : at + chance.randrange(12)] = chance.choice(WORDS)
            changed = changed or bytearray(b"x")
    return bytes(changed)


def survive(n_messages: int, seed: int) -> int:
    chance = random.Random(seed)
    good = [raw_parts(*whole) for whole in messages.messages().values()] + [raw_parts(*messages.volume(codec="blosc2"))]
    asked = [[bytes(part) for part in map(arrays.as_bytes, cl1.encode_request(r))] for r in messages.REQUESTS.values()]
    n_refused = 0
    for _ in range(n_messages):
        is_request = chance.random() < 0.3
        parts = mutated(chance.choice(asked if is_request else good), chance)
        try:
            (cl1.decode_request if is_request else cl1.decode)(parts)
        except ProtocolError:
            n_refused += 1
    return n_refused


@pytest.mark.slow
def test_30_000_mutated_messages_raise_nothing_but_our_own_error() -> None:
    before = memory_peak_mb()
    assert survive(30_000, seed=5) > 20_000
    assert memory_peak_mb() - before < 10


@pytest.mark.slow
def test_100_000_mutated_messages_raise_nothing_but_our_own_error() -> None:
    assert survive(100_000, seed=17) > 70_000


@settings(max_examples=300)
@drawn(st.lists(st.binary(max_size=300), max_size=5))
def test_any_bytes_at_all_raise_nothing_but_our_own_error(parts: list[bytes]) -> None:
    for decode in (cl1.decode, cl1.decode_request):
        with pytest.raises(ProtocolError):
            decode(parts)


def test_a_header_too_long_is_not_sent() -> None:
    message, buffers = messages.volume()
    long = msgspec.structs.replace(messages.NOTES["start"], summary={"x": "y" * 2_000_000})
    with pytest.raises(ProtocolError, match="at most 1048576 travel"):
        cl1.encode(long)
    assert isinstance(message, VolumeMessage) and buffers
