"""CRC32C, the one checksum of the wire and of the store."""

from __future__ import annotations

from typing import Any

import crc32c as _crc32c
from numpy.typing import NDArray


def crc32c(data: bytes | memoryview | NDArray[Any], before: int = 0) -> int:
    """Return the CRC32C (Castagnoli) of a C-contiguous buffer; about 8 GB/s, and the GIL is released.

    Parameters
    ----------
    before : of the bytes that lie before it
    """
    return int(_crc32c.crc32c(data, before))
