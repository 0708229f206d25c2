"""Chunks that were cut are named before Blosc would decode them to wrong pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from care_live.errors import SourceError
from care_live.recorded.blosc_chunks import check_chunks

WHOLE = ((0, 4), (0, 16), (0, 16))


def written(folder: Path, compressor: Any) -> Any:
    """Return an array of four chunks, one a plane."""
    pixels = np.random.default_rng(0).integers(0, 4096, (4, 16, 16), dtype=np.uint16)
    made = zarr.create_array(folder / "a", shape=pixels.shape, chunks=(1, 16, 16), dtype="u2", compressors=compressor)
    made[...] = pixels
    return zarr.open_array(folder / "a", mode="r")


BLOSC = zarr.codecs.BloscCodec(cname="zstd", shuffle="bitshuffle")


def test_sound_chunks_pass_and_so_do_missing_ones(tmp_path: Path) -> None:
    array = written(tmp_path, BLOSC)
    check_chunks(array, WHOLE)
    (tmp_path / "a" / "c" / "0" / "0" / "0").unlink()
    check_chunks(array, WHOLE)


@pytest.mark.parametrize("left", [5, 100])
def test_a_chunk_that_was_cut_is_named(tmp_path: Path, left: int) -> None:
    array = written(tmp_path, BLOSC)
    cut = tmp_path / "a" / "c" / "2" / "0" / "0"
    cut.write_bytes(cut.read_bytes()[:left])
    check_chunks(array, ((0, 2), (0, 16), (0, 16)))
    with pytest.raises(SourceError, match=rf"has {left} bytes.*it was cut or is damaged"):
        check_chunks(array, ((2, 3), (0, 16), (0, 16)))


def test_a_header_that_says_another_size_is_damaged(tmp_path: Path) -> None:
    array = written(tmp_path, BLOSC)
    chunk = tmp_path / "a" / "c" / "1" / "0" / "0"
    content = bytearray(chunk.read_bytes())
    content[4] ^= 1  # the number of bytes decoded
    chunk.write_bytes(content)
    with pytest.raises(SourceError, match="its header says"):
        check_chunks(array, WHOLE)


def test_an_array_without_blosc_has_no_such_headers(tmp_path: Path) -> None:
    array = written(tmp_path, zarr.codecs.ZstdCodec())
    (tmp_path / "a" / "c" / "1" / "0" / "0").write_bytes(b"cut")
    check_chunks(array, WHOLE)
