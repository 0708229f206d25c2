"""How far a network sees along one axis: derived, and counted on a network of ones."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.model.receptive_field import Stretch, halo, projection_reads, unet_reads


def counted(wanted: Stretch, *, depth: int, kernel: int, n: int = 256) -> Stretch:
    """Mark what a U-Net of max pooling and nearest upsampling reads: follow each wanted pixel back to the input."""
    origin = 128

    def reads(pixels: set[int], level: int) -> set[int]:
        for _ in range(2):
            pixels = {pixel + by for pixel in pixels for by in range(-(kernel // 2), kernel // 2 + 1)}
        if level == depth:
            return pixels
        below = {2 * pixel + half for pixel in reads({pixel // 2 for pixel in pixels}, level + 1) for half in (0, 1)}
        pixels = pixels | below
        for _ in range(2):
            pixels = {pixel + by for pixel in pixels for by in range(-(kernel // 2), kernel // 2 + 1)}
        return pixels

    found = reads({origin + pixel for pixel in range(wanted.first, wanted.last + 1)}, 0)
    assert min(found) >= 0 and max(found) < n
    return Stretch(min(found) - origin, max(found) - origin)


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_it_is_what_pixels_depend_on(depth: int, kernel: int) -> None:
    wanted = Stretch(0, 2**depth - 1)
    assert unet_reads(wanted, depth=depth, kernel=kernel, pool=2) == counted(wanted, depth=depth, kernel=kernel)


def test_a_projection_without_skips_reads_at_least_what_it_writes() -> None:
    wanted = Stretch(0, 3)
    read = projection_reads(wanted, depth=2, kernel=1, pool=2, convolutions=1)
    assert (read.first, read.last) == (0, 3)
    assert projection_reads(wanted, depth=2, kernel=3, pool=2, convolutions=2).first < 0


def test_a_halo_is_a_whole_number_of_interiors() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        size, before, after = (int(n) for n in rng.integers(1, 40, 3))
        found = halo(Stretch(-before, size - 1 + after), Stretch(0, size - 1))
        assert found % size == 0
        assert max(before, after) <= found < max(before, after) + size
