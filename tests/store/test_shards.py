"""Names of folders and shards: what is care_live's own, and what another program has left."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.images import VolumeKey
from care_live.store.shards import QUARANTINE, image_of, is_number, is_raw, partial_files, shards


@pytest.mark.parametrize(
    ("name", "ours"), [("0", True), ("10", True), ("01", False), ("0 - Copy", False), ("٣", False)]
)
def test_an_index_is_written_in_one_way(name: str, ours: bool) -> None:
    assert is_number(name) is ours


def test_an_image_of_a_plate_lies_two_folders_deeper(tmp_path: Path) -> None:
    assert image_of(tmp_path, tmp_path / "raw/3/0/c/0/0/0/0/0") == tmp_path / "raw/3"
    assert image_of(tmp_path, tmp_path / "raw/B/07/2/0/c/0/0/0/0/0") == tmp_path / "raw/B/07/2"


def test_shards_are_found_by_volume_and_foreign_folders_left_out(tmp_path: Path) -> None:
    for folder in ("raw/1/0/c/4/2/0/0/0", "raw/1 - Copy/0/c/4/2/0/0/0", "restored/0/0/c/07/0/0/0/0"):
        path = tmp_path / folder
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    assert list(shards(tmp_path, None)) == [("raw", VolumeKey(4, 1, 2), tmp_path / "raw/1/0/c/4/2/0/0/0")]


def test_coarser_levels_are_shards_of_their_volume_and_not_raw(tmp_path: Path) -> None:
    """What nothing acknowledges is deleted: only the full resolution is set aside."""
    path = tmp_path / "raw/1/2/c/4/2/0/0/0"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert list(shards(tmp_path, None)) == [("raw", VolumeKey(4, 1, 2), path)]
    assert not is_raw(tmp_path, path)


def test_half_a_raw_volume_is_raw_and_the_quarantine_is_left_alone(tmp_path: Path) -> None:
    half, metadata, kept = (
        tmp_path / one
        for one in ("raw/0/0/c/0/0/0/0/0.partial", "raw/0/0/zarr.json.partial", f"{QUARANTINE}/1/0.partial")
    )
    for path in (half, metadata, kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert [(path, is_raw(tmp_path, path)) for path in partial_files(tmp_path)] == [(half, True), (metadata, False)]
