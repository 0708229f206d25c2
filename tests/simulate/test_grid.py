"""Where voxels lie, and planes that are interpolated from a coarser grid."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.simulate.grid import Grid, linear_weights, refine


def test_a_centred_grid_has_its_middle_there() -> None:
    grid = Grid.centred((4, 5, 6), (2.0, 0.5, 0.25), (10.0, 20.0, 30.0))
    assert [float(grid.axis_um(axis).mean()) for axis in range(3)] == [10.0, 20.0, 30.0]
    assert grid.extent_um == (8.0, 2.5, 1.5)


def test_a_plane_lies_at_its_height() -> None:
    grid = Grid.centred((4, 5, 6), (2.0, 0.5, 0.25))
    assert grid.plane(3).axis_um(0).tolist() == [grid.axis_um(0)[3]]
    assert grid.plane(3).shape_px == (1, 5, 6)


def test_weights_interpolate_linearly_and_keep_the_ends() -> None:
    knots = np.array([0.0, 1.0, 4.0])
    weights = linear_weights(np.array([-9.0, 0.25, 2.5, 9.0]), knots)
    assert weights.sum(1) == pytest.approx(1)
    assert weights @ (3 * knots) == pytest.approx([0.0, 0.75, 7.5, 12.0])


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(5, 6), (8, 8), (1, 13)])
def test_a_linear_plane_comes_back_from_a_coarse_grid(factor: int, shape: tuple[int, int]) -> None:
    plane = Grid((1, *shape), (1.0, 0.5, 0.25), (0.0, 3.0, -2.0))
    coarse = plane.coarse(factor)
    y, x = np.meshgrid(coarse.axis_um(1), coarse.axis_um(2), indexing="ij")
    fine_y, fine_x = np.meshgrid(plane.axis_um(1), plane.axis_um(2), indexing="ij")
    refined = refine((2 * y - x).astype(np.float32), factor, shape)
    np.testing.assert_allclose(refined, 2 * fine_y - fine_x, rtol=1e-5, atol=1e-5)
