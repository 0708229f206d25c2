"""Frames in the memory of a tap: what was put is read, whatever a client says of it, and nothing else is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from care_live.errors import ProtocolError
from care_live.images import Frame, PlaneIndex, read_only
from care_live.wire import tap_codec, tap_protocol
from care_live.wire.frame_memory import FrameMemory, FrameMemoryReader
from care_live.wire.tap_protocol import FrameHead, MemoryOffer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files without a name")

SIDE_PX = 256
N_BYTES = 2 * SIDE_PX**2


@pytest.fixture
def memory() -> Iterator[FrameMemory]:
    made = FrameMemory(is_here=True)
    made.offer(N_BYTES)
    made.is_read = True
    yield made
    made.close()


@pytest.fixture
def offer(memory: FrameMemory) -> MemoryOffer:
    offered = memory.offer(N_BYTES)
    assert offered is not None
    return offered


@pytest.fixture
def reader(offer: MemoryOffer) -> Iterator[FrameMemoryReader]:
    opened = FrameMemoryReader.open(offer)
    assert opened is not None
    yield opened
    opened.close()


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**16, (SIDE_PX, SIDE_PX), np.uint16)


def head(seed: int, slot: int) -> FrameHead:
    """Return what a tap says of such a frame."""
    frame = Frame("r", 0, PlaneIndex(seed), read_only(pixels(seed)), 1)
    parts = tap_codec.parts_of(frame, tap_codec.Envelope("ab" * 16, seed, 0, 1), token="", slot=slot)
    message, came_along = tap_protocol.decode_from_tap([memoryview(bytes(part)) for part in parts])
    assert isinstance(message, FrameHead)
    assert came_along is None
    return message


def test_what_was_put_is_read(memory: FrameMemory, reader: FrameMemoryReader) -> None:
    slots = [memory.put(number, pixels(number)) for number in (1, 2, 3)]
    assert slots == [0, 1, 2]
    for number, slot in zip((1, 2, 3), slots, strict=True):
        read = reader.read(head(number, slot or 0), slot or 0)
        assert np.array_equal(read, pixels(number))
        assert not read.flags.writeable
    memory.free_before(3)
    memory.put(4, pixels(4))
    assert np.array_equal(read, pixels(3)), "what was read is a copy"


def test_a_slot_is_held_until_the_daemon_has_its_frame(memory: FrameMemory, offer: MemoryOffer) -> None:
    for number in range(offer.n_slots):
        assert memory.put(number, pixels(number)) == number
    assert memory.put(offer.n_slots, pixels(99)) is None
    assert memory.is_full, "it waits for an answer"
    assert memory.put(2, pixels(99)) == 2, "sent again, it lies where it lay"
    memory.free_before(2)
    assert memory.put(offer.n_slots, pixels(99)) == 0
    assert not memory.is_full


def test_an_older_frame_that_is_sent_again_never_waits_for_newer_ones(memory: FrameMemory, offer: MemoryOffer) -> None:
    for number in range(10, 10 + offer.n_slots):
        memory.put(number, pixels(number))
    assert memory.put(3, pixels(3)) is None
    assert not memory.is_full, "it goes over the link: no answer would free a slot before it came"


def test_frames_go_over_the_link_until_the_daemon_says_that_it_reads_memory(memory: FrameMemory) -> None:
    memory.is_read = False
    assert memory.put(1, pixels(1)) is None
    assert not memory.is_full


@pytest.mark.parametrize("frame_bytes", [1000, 200 * 1024**2], ids=["small", "few would fit"])
def test_no_memory_is_offered_where_it_is_of_no_use(frame_bytes: int) -> None:
    assert FrameMemory(is_here=True).offer(frame_bytes) is None


@pytest.mark.parametrize(("n_frames", "n_slots"), [(3.5, 3), (100, 8)])
def test_memory_is_as_much_as_it_may_take(n_frames: float, n_slots: int) -> None:
    made = FrameMemory(is_here=True, most_bytes=int(n_frames * N_BYTES))
    offered = made.offer(N_BYTES)
    made.close()
    assert offered is not None and offered.n_slots == n_slots


def test_no_memory_is_offered_where_two_frames_would_be_too_much() -> None:
    assert FrameMemory(is_here=True, most_bytes=2 * N_BYTES - 1).offer(N_BYTES) is None


def test_a_python_that_was_built_for_an_old_system_offers_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert FrameMemory(is_here=True).offer(N_BYTES) is None


def test_no_memory_is_offered_where_the_system_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(name: str) -> int:
        raise PermissionError(name)

    monkeypatch.setattr(os, "memfd_create", forbidden)
    assert FrameMemory(is_here=True).offer(N_BYTES) is None


def test_no_memory_is_offered_to_another_machine() -> None:
    assert FrameMemory(is_here=False).offer(N_BYTES) is None


def test_a_frame_that_is_larger_than_planned_goes_over_the_link(memory: FrameMemory) -> None:
    assert memory.put(1, np.zeros((SIDE_PX, 2 * SIDE_PX), np.uint16)) is None
    assert not memory.is_full


def test_a_daemon_reads_what_it_was_sent_behind_the_end_of_the_tap(
    memory: FrameMemory, reader: FrameMemoryReader
) -> None:
    memory.put(1, pixels(1))
    memory.close()
    assert np.array_equal(reader.read(head(1, 0), 0), pixels(1))


@pytest.mark.parametrize(
    "lie",
    [
        lambda offer, other: replace(offer, pid=2**22 + 5),
        lambda offer, other: replace(offer, descriptor=2**20),
        lambda offer, other: replace(offer, descriptor=other),
        lambda offer, other: replace(offer, name="ab" * 16),
        lambda offer, other: replace(offer, descriptor=0),
    ],
    ids=["no process", "no file", "another file", "another name", "standard input"],
)
def test_only_memory_with_the_name_of_the_tap_is_opened(
    offer: MemoryOffer, lie: Callable[[MemoryOffer, int], MemoryOffer], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * N_BYTES)
    with secret.open("rb") as file:
        assert FrameMemoryReader.open(lie(offer, file.fileno())) is None


def test_memory_of_another_program_is_not_opened(offer: MemoryOffer) -> None:
    other = os.memfd_create("of another program")
    try:
        assert FrameMemoryReader.open(replace(offer, descriptor=other)) is None
    finally:
        os.close(other)


def test_what_does_not_lie_there_is_refused(memory: FrameMemory, offer: MemoryOffer, reader: FrameMemoryReader) -> None:
    memory.put(1, pixels(1))
    with pytest.raises(ProtocolError, match="checksum"):
        reader.read(head(2, 0), 0)
    with pytest.raises(ProtocolError, match="no place in slot 8"):
        reader.read(head(1, 8), 8)
    with pytest.raises(ProtocolError, match="no place"):
        reader.read(replace(head(1, 0), shape_px=(SIDE_PX, SIDE_PX + 1)), 0)
    with pytest.raises(ProtocolError, match="ends"):
        reader.read(head(1, 7), 7)


def test_memory_that_its_owner_makes_shorter_is_an_error_and_not_the_end(
    memory: FrameMemory, offer: MemoryOffer, reader: FrameMemoryReader
) -> None:
    memory.put(1, pixels(1))
    os.ftruncate(offer.descriptor, N_BYTES // 2)
    with pytest.raises(ProtocolError, match="ends"):
        reader.read(head(1, 0), 0)
