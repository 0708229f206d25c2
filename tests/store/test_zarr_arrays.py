"""How groups and arrays are written is what zarr reads, and its errors are ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from care_live.errors import StoreError
from care_live.store.zarr_arrays import blosc_of, compressors_of, write_group, zarr_errors


def test_a_group_is_one_that_zarr_opens(tmp_path: Path) -> None:
    write_group(tmp_path / "run" / "raw", {"ome": {"version": "0.5"}})
    write_group(tmp_path / "run" / "raw", {"ome": {"version": "0.5"}, "more": [1]})
    assert dict(zarr.open_group(tmp_path / "run" / "raw", mode="r").attrs) == {"ome": {"version": "0.5"}, "more": [1]}


def array(path: Path, compressors: tuple[object, ...], dtype: str = "uint16") -> zarr.Array:
    return zarr.create_array(
        path, shape=(4, 8, 8), shards=(4, 8, 8), chunks=(1, 8, 8), dtype=dtype, compressors=compressors
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_chunks_are_packed_and_carry_a_checksum(tmp_path: Path, dtype: str) -> None:
    packing, checksum = compressors_of(dtype)
    written = array(tmp_path / "image", (packing, checksum), dtype)
    written[:] = np.arange(256).reshape(4, 8, 8)
    assert blosc_of(written, True, tmp_path).cname == packing.cname
    assert (zarr.open_array(tmp_path / "image", mode="r")[:] == np.arange(256).reshape(4, 8, 8)).all()


def test_an_array_with_other_codecs_is_not_written_to(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not as it was made: its codecs are"):
        blosc_of(array(tmp_path / "image", (zarr.codecs.GzipCodec(),)), True, tmp_path)


def test_errors_of_zarr_and_of_the_disk_are_ours(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot read it: damaged"), zarr_errors("cannot read it", tmp_path):
        raise ValueError("damaged")
    with pytest.raises(StoreError), zarr_errors("cannot read it", tmp_path):
        raise OSError(28, "No space left on device")
