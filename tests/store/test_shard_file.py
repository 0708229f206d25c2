"""A shard that is written at once is the one that zarr would write; a write that fails leaves what was there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from numcodecs import blosc

from care_live.errors import StoreError
from care_live.store.ome import chunk_shape, shard_shape
from care_live.store.raw_codec import CodecPicker
from care_live.store.zarr_images import ImageGroup

SHAPES = {
    "one chunk": (3, 20, 30),
    "several along each axis": (11, 700, 530),
    "padded chunks": (5, 1030, 513),
}


def volume(shape: tuple[int, int, int], dtype: str) -> np.ndarray:
    numbers = np.random.default_rng(1).poisson(90, shape)
    return numbers.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_shard_is_byte_for_byte_the_one_that_zarr_writes(
    tmp_path: Path, shape: tuple[int, int, int], dtype: str
) -> None:
    pixels = volume(shape, dtype)
    group = ImageGroup.create(tmp_path / "run" / "raw" / "0", shape, dtype)
    stored = group.write(0, 0, pixels)
    chunk = chunk_shape(shape)
    array = zarr.open_array(group.path / "0", mode="r+")
    assert array.shards == (1, 1, *shard_shape(shape, chunk))
    (file,) = group.files(0, 0, shape[0])
    ours = file.read_bytes()
    assert len(ours) == stored.file_bytes
    with zarr.config.set({"array.write_empty_chunks": True}):
        array[0, 0] = pixels
    assert chunks_of(file.read_bytes(), array) == chunks_of(ours, array)
    np.testing.assert_array_equal(group.read(0, 0, stored), pixels)


def test_chunks_that_are_not_packed_are_what_blosc_makes_of_them(tmp_path: Path) -> None:
    shape = SHAPES["padded chunks"]
    group, pixels = ImageGroup.create(tmp_path / "run" / "raw" / "0", shape, "uint16"), volume(shape, "uint16")
    group.write(0, 0, pixels, codecs=CodecPicker("none"))
    array = zarr.open_array(group.path / "0", mode="r")
    (first, *others) = chunks_of(group.files(0, 0, shape[0])[0].read_bytes(), array)
    whole = np.ascontiguousarray(pixels[: array.chunks[2], : array.chunks[3], : array.chunks[4]])
    assert first[:-4] == blosc.compress(whole, b"lz4", 0, 0, 0, 2)
    assert {len(one) for one in others} == {len(first)}
    np.testing.assert_array_equal(array[0, 0], pixels)


def chunks_of(shard: bytes, array: zarr.Array) -> list[bytes]:
    """Return the packed chunks in the index' order: zarr puts them into the file in another one."""
    n_chunks = int(np.prod([whole // part for whole, part in zip(array.shards, array.chunks, strict=True)]))
    index = np.frombuffer(shard[-16 * n_chunks - 4 : -4], "<u8").reshape(n_chunks, 2)
    return [shard[offset : offset + length] for offset, length in index.tolist()]


def test_volumes_of_fewer_and_of_more_planes_are_read_by_zarr(tmp_path: Path) -> None:
    shape = (9, 20, 30)
    group = ImageGroup.create(tmp_path / "run" / "raw" / "0", shape, "uint16")
    depths = (9, 2, 23)
    for t, depth in enumerate(depths):
        stored = group.write(t, 0, volume((depth, 20, 30), "uint16"))
        np.testing.assert_array_equal(group.read(t, 0, stored), volume((depth, 20, 30), "uint16"))
    array = zarr.open_array(group.path / "0", mode="r")
    for t, depth in enumerate(depths):
        np.testing.assert_array_equal(array[t, 0, :depth], volume((depth, 20, 30), "uint16"))
        assert not array[t, 0, depth:].any()


def test_a_write_that_fails_leaves_the_shard_before_and_no_part_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (9, 20, 30)
    group = ImageGroup.create(tmp_path / "run" / "raw" / "0", shape, "uint16")
    stored = group.write(0, 0, volume(shape, "uint16"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreError, match="no space left"):
        group.write(0, 0, np.zeros(shape, np.uint16))
    monkeypatch.undo()
    np.testing.assert_array_equal(group.read(0, 0, stored), volume(shape, "uint16"))
    assert not list(tmp_path.rglob("*.partial"))


def test_metadata_of_other_codecs_are_refused(tmp_path: Path) -> None:
    group = ImageGroup.create(tmp_path / "run" / "raw" / "0", (9, 20, 30), "uint16")
    described = group.path / "0" / "zarr.json"
    described.write_text(described.read_text().replace('"name": "blosc"', '"name": "zstd"', 1), encoding="utf-8")
    with pytest.raises(StoreError, match=r"codecs|cannot open"):
        ImageGroup(group.path, writable=True).write(0, 0, volume((9, 20, 30), "uint16"))
