"""Tiling: every voxel once, one shape, aligned, and never with too small a halo."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from care_live.errors import ConfigError, ModelError, OutOfMemoryError
from care_live.tiling import fit_tile, padded, refuse_small_halo, tile_shape, tiles


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, int, int, int]:
    divisor = draw(st.sampled_from([1, 2, 4, 8]))
    halo = draw(st.integers(0, 20))
    smallest = -(-(2 * halo + 2 * divisor) // divisor)
    tile = draw(st.integers(smallest, smallest + 30)) * divisor
    return draw(st.integers(1, 60)) * divisor, tile, halo, divisor


@given(layouts())
def test_identity_returns_the_field_and_writes_every_pixel_once(layout: tuple[int, int, int, int]) -> None:
    n, tile, halo, divisor = layout
    field = np.arange(n)
    out = np.zeros(n, int)
    written = np.zeros(n, int)
    for piece in tiles([n], [tile], [halo], [divisor]):
        out[piece.write] = field[piece.read][piece.keep]
        written[piece.write] += 1
    assert (out == field).all()
    assert (written == 1).all()


@given(layouts())
def test_tiles_have_one_shape_are_aligned_and_keep_their_halo(layout: tuple[int, int, int, int]) -> None:
    n, tile, halo, divisor = layout
    cut = tiles([n], [tile], [halo], [divisor])
    (size,) = tile_shape([n], [tile], [halo], [divisor])
    assert size <= max(tile, divisor)
    for piece in cut:
        read, keep = piece.read[0], piece.keep[0]
        assert read.stop - read.start == size
        assert 0 <= read.start <= read.stop <= n
        assert read.start % divisor == 0
        assert keep.start >= halo or read.start == 0
        assert size - keep.stop >= halo or read.stop == n


@given(layouts())
def test_no_fewer_tiles_would_do(layout: tuple[int, int, int, int]) -> None:
    n, tile, halo, divisor = layout
    count = len(tiles([n], [tile], [halo], [divisor]))
    most = (tile - 2 * halo) // divisor * divisor
    assert count == 1 or (count - 1) * most + 2 * halo < n


def test_three_axes() -> None:
    volume = np.random.default_rng(1).integers(0, 9, (12, 64, 80))
    out = np.zeros_like(volume)
    for tile in tiles(volume.shape, (12, 32, 40), (24, 8, 8), (4, 4, 4)):
        out[tile.write] = volume[tile.read][tile.keep]
    assert (out == volume).all()


def test_a_smoothing_network_tiled_equals_whole_exactly_at_its_reach_and_not_below() -> None:
    field = np.random.default_rng(2).random(96)

    def network(line: np.ndarray) -> np.ndarray:
        return np.convolve(line, np.ones(9), mode="same")  # reach 4

    def tiled(halo: int) -> np.ndarray:
        out = np.zeros_like(field)
        for tile in tiles([96], [32], [halo], [4]):
            out[tile.write] = network(field[tile.read])[tile.keep]
        return out

    assert np.allclose(tiled(4), network(field), rtol=0, atol=1e-12)
    assert np.abs(tiled(3) - network(field)).max() > 1e-3


def test_a_tile_that_is_all_halo_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 52"):
        tiles([256], [48], [24], [4])


def test_a_field_off_the_divisor_is_refused() -> None:
    with pytest.raises(ConfigError, match="pad it first"):
        tiles([443], [64], [8], [4])


def test_a_halo_below_the_reach_is_refused() -> None:
    refuse_small_halo((24, 24), (22, 24))
    with pytest.raises(ModelError, match="differ from the whole"):
        refuse_small_halo((24, 20), (22, 24))


def test_padded() -> None:
    assert padded((5, 443, 512), (4, 4, 4)) == (8, 444, 512)


def test_equal_tiles_save_work() -> None:
    assert tile_shape([1024], [600], [24], [4]) == (536,)
    assert len(list(itertools.chain(tiles([1024], [600], [24], [4])))) == 2


@given(layouts(), st.integers(1, 3))
def test_a_budget_cuts_the_tiles_that_cost_least(layout: tuple[int, int, int, int], part: int) -> None:
    n, tile, halo, divisor = layout
    budget = max((2 * halo + 2 * divisor) ** 2, n * n // (4 * part))
    fitted = fit_tile([n, n], [tile, tile], [halo, halo], [divisor, divisor], budget_px=budget)
    assert fitted[0] * fitted[1] <= budget
    assert len(tiles([n, n], fitted, [halo, halo], [divisor, divisor])) >= 1


def test_z_stays_whole_when_cutting_it_would_only_add_halo() -> None:
    assert fit_tile([32, 1024, 1024], [32, 1024, 1024], [24, 24, 24], [4, 4, 4], budget_px=32 * 600 * 600)[0] == 32


def test_a_budget_below_the_smallest_tile_is_out_of_memory() -> None:
    with pytest.raises(OutOfMemoryError, match="does not fit"):
        fit_tile([64, 64], [64, 64], [8, 8], [4, 4], budget_px=100)
