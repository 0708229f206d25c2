"""Coarser levels: what stands for a block of pixels, and what becomes of odd edges."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from care_live.pyramid import Combine, coarser, combine_of, halved

PIXELS = [[[0, 2, 10], [2, 4, 20], [8, 8, 30]]]
SIGNED = np.array([[[-9, 3, 1], [4, 0, -2]]], np.float32)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_level_averages_four_pixels_and_repeats_an_odd_edge(dtype: str) -> None:
    pixels = np.array(PIXELS, dtype)
    np.testing.assert_array_equal(coarser(pixels, 1), np.array([[[2, 15], [8, 30]]], dtype))
    assert coarser(pixels, 1).dtype == dtype
    assert coarser(pixels, 2).shape == (1, 1, 1)
    assert coarser(pixels, 0) is pixels


@pytest.mark.parametrize(
    ("combine", "found"), [("average", [[-0.5, -0.5]]), ("largest", [[4, 1]]), ("farthest", [[-9, -2]])]
)
def test_a_block_is_the_average_the_largest_or_the_farthest_from_0(combine: Combine, found: list[list[float]]) -> None:
    np.testing.assert_array_equal(coarser(SIGNED[0], 1, combine), found)
    np.testing.assert_array_equal(coarser(SIGNED, 1, combine, whole=True), [[found[0][:1]]])


@pytest.mark.parametrize("level", range(1, 5))
@pytest.mark.parametrize("shape", [(33, 48), (17, 5), (1, 1), (6, 40)])
def test_sizes_are_rounded_up_or_only_whole_blocks_are_taken(level: int, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 65535, shape, dtype=np.uint16)
    assert coarser(pixels, level).shape == tuple(-(-n // 2**level) for n in shape)
    assert coarser(pixels, level, whole=True).shape == tuple(max(1, n // 2**level) for n in shape)
    assert coarser(pixels, level, "largest").max() == pixels.max()
    assert (coarser(np.full(shape, 777, np.uint16), level) == 777).all()


def test_a_level_never_looks_surer_than_the_volume() -> None:
    assert [combine_of(name) for name in ("raw", "mean", "restored")] == ["average"] * 3
    assert [combine_of(name) for name in ("laplace_scale", "disagreement")] == ["largest"] * 2


@pytest.mark.parametrize("combine", ["average", "largest", "farthest"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_volume_is_halved_to_the_same_bytes_in_memory_for_its_planes(combine: Combine, dtype: str) -> None:
    volume = np.random.default_rng(0).normal(100, 30, (64, 65, 130)).astype(dtype)
    tracemalloc.start()
    try:
        halves = halved(volume, combine)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    wanted = coarser(volume, 1, combine)
    assert (halves.dtype, halves.tobytes()) == (wanted.dtype, wanted.tobytes())
    assert peak_bytes < volume.nbytes / 2
