"""The one checksum: CRC32C, in one go or part by part."""

from __future__ import annotations

import numpy as np

from care_live.checksum import crc32c


def test_it_is_castagnolis() -> None:
    """The check value of its specification (RFC 3720, B.4, has others)."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


def test_parts_give_what_the_whole_gives() -> None:
    plane = np.random.default_rng(0).integers(0, 4096, (17, 23), dtype=np.uint16)
    whole = crc32c(plane)
    assert whole == crc32c(plane.tobytes()) == crc32c(memoryview(plane).cast("B")[100:], crc32c(plane.tobytes()[:100]))
    plane[3, 5] ^= 1
    assert crc32c(plane) != whole
