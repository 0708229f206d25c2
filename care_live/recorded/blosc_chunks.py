"""Looks at Blosc's own header in each chunk of a Zarr array before it is decoded.

Blosc's decoder does not check that header: from a chunk that was cut it returns wrong pixels, without an error.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from care_live.errors import SourceError

_HEADER = struct.Struct("<4B3I")
"""Version twice, flags, size of an item; bytes decoded, of a block, encoded."""


def check_chunks(array: Any, region: Sequence[tuple[int, int]]) -> None:
    """Compare the chunks' headers with their files; an array without Blosc has none, a missing chunk is all zero.

    Parameters
    ----------
    array : zarr's, on a local disk
    region : per axis the first index and the one behind the last

    Raises
    ------
    SourceError
        A chunk was cut, or is damaged.
    """
    if not _has_blosc(array) or not hasattr(array.store_path.store, "root"):
        return  # an object store has a chunk whole or not at all
    folder = Path(array.store_path.store.root) / array.path
    n_decoded = math.prod(array.chunks) * array.dtype.itemsize
    steps = zip(region, array.chunks, strict=True)
    for place in itertools.product(*(range(first // step, -(-stop // step)) for (first, stop), step in steps)):
        _check(folder / array.metadata.encode_chunk_key(place), n_decoded)


def _has_blosc(array: Any) -> bool:
    metadata = array.metadata
    if metadata.zarr_format == 2:
        return getattr(metadata.compressor, "codec_id", None) == "blosc"
    return type(metadata.codecs[-1]).__name__ == "BloscCodec"


def _check(path: Path, n_decoded: int) -> None:
    try:
        with path.open("rb", buffering=0) as file:
            header, n_bytes = file.read(_HEADER.size), file.seek(0, 2)
    except FileNotFoundError:
        return
    if len(header) < _HEADER.size:
        raise SourceError(f"chunk {path} has {n_bytes} bytes: it was cut or is damaged")
    *_, says_decoded, _, says_encoded = _HEADER.unpack(header)
    if (says_decoded, says_encoded) != (n_decoded, n_bytes):
        raise SourceError(
            f"chunk {path} has {n_bytes} bytes for {n_decoded} of pixels, but its header says {says_encoded} for "
            f"{says_decoded}: it was cut or is damaged"
        )
