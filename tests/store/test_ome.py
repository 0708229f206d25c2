"""The metadata of OME-Zarr: contrast, chunks, and what a restored image says of itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from care_live.images import LIMITS
from care_live.store import ome


def test_a_dead_pixel_and_an_empty_corner_leave_the_contrast_alone() -> None:
    pixels = np.random.default_rng(0).normal(300, 10, (3, 256, 256)).astype(np.float32)
    clean = ome.window("raw", pixels)
    pixels[:, 7, 7], pixels[:, 9, 9] = 0, 65535
    assert ome.window("raw", pixels) == pytest.approx(clean, abs=2)


def test_a_window_is_never_empty() -> None:
    low, high = ome.window("restored", np.zeros((2, 4, 4), np.float32))
    assert low < high


@given(st.tuples(*[st.integers(1, 3000)] * 3))
def test_a_shard_holds_a_volume_in_whole_chunks_with_little_padding(shape: tuple[int, int, int]) -> None:
    chunk = ome.chunk_shape(shape)
    shard = ome.shard_shape(shape, chunk)
    for size, chunk_px, shard_px, most in zip(shape, chunk, shard, (8, 512, 512), strict=True):
        assert 1 <= chunk_px <= most
        assert shard_px % chunk_px == 0
        assert size <= shard_px < size + -(-size // chunk_px), "padding is less than one pixel a chunk"


def test_a_restored_image_says_what_it_must_not_be_used_for() -> None:
    assert ome.meaning("restored")["limits"] == LIMITS
    assert "limits" not in ome.meaning("raw")


def test_the_scale_is_that_of_the_voxels_and_of_the_time_points() -> None:
    described = ome.image("raw here", voxel_size_um=(2.0, 0.5, 0.25), interval_s=10.0, channels=[])
    (dataset,) = described["multiscales"][0]["datasets"]
    assert dataset["coordinateTransformations"] == [{"type": "scale", "scale": [10.0, 1.0, 2.0, 0.5, 0.25]}]


def test_limits_hold_the_window() -> None:
    assert ome.limits("uint8", (3.0, 99.0)) == (0.0, 255.0)
    low, high = ome.limits("float32", (-4.0, 50.0))
    assert low <= -4.0 and high >= 50.0
