"""Blur and light: energy is conserved, places are right, light fades as it should."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from care_live.simulate import GaussianSpot, Grid, Light, Measured, Microscope, Objective, Worm, stamps
from care_live.simulate.psf import Psf, kernel
from care_live.simulate.specimen import Particles, Profile
from tests.conftest import need_data

BALL = Profile(1.5)


def one_particle(z_um: float, y_um: float, x_um: float) -> Particles:
    return Particles(np.array([[z_um, y_um, x_um]]), np.ones(1, np.float32), np.zeros(1, np.intp))


def measured_spot() -> Measured:
    return Measured(kernel(GaussianSpot(), (0.2, 0.1, 0.1)), (0.2, 0.1, 0.1))


def drawn(psf: Psf | None, place_um: tuple[float, float, float]) -> tuple[np.ndarray, Grid]:
    grid = Grid.centred((61, 40, 40), (0.25, 0.5, 0.5))
    table = stamps.make((BALL,), psf, 0.5)
    return np.stack([table.draw(one_particle(*place_um), grid.plane(z)) for z in range(61)]), grid


@pytest.mark.parametrize("psf", [GaussianSpot(), Objective(), measured_spot()], ids=["gauss", "objective", "measured"])
def test_blur_conserves_the_fluorescence(psf: Psf) -> None:
    sharp, _ = drawn(None, (0.0, 0.0, 0.0))
    blurred, _ = drawn(psf, (0.0, 0.0, 0.0))
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=0.02)
    assert blurred.max() < sharp.max()


@pytest.mark.parametrize("place_um", [(0.0, 0.0, 0.0), (1.0, -2.3, 4.1), (-0.75, 3.06, -0.19)])
def test_a_particle_appears_where_it_is(place_um: tuple[float, float, float]) -> None:
    volume, grid = drawn(GaussianSpot(), place_um)
    for axis, true_um in enumerate(place_um):
        profile = volume.sum(axis=tuple(other for other in range(3) if other != axis))
        seen_um = float(np.sum(profile * grid.axis_um(axis)) / profile.sum())
        assert seen_um == pytest.approx(true_um, abs=0.13)


def test_real_objective_is_longer_than_wide() -> None:
    spot = kernel(Objective(), (0.125, 0.125, 0.125))
    nz, _, nx = spot.shape
    axial, lateral = (np.sum(line > spot.max() / 2) for line in (spot[:, nx // 2, nx // 2], spot[nz // 2, nx // 2]))
    assert spot.sum() == pytest.approx(1.0, abs=1e-4)
    assert np.unravel_index(spot.argmax(), spot.shape) == (nz // 2, nx // 2, nx // 2)
    assert axial > 2 * lateral


def test_psf_measured_with_a_bead() -> None:
    """A real bead's focus comes to the middle, whatever its place in the stack, and its background goes."""
    file = need_data("psf_widefield_na0.85") / "psf_wl520nm_z300nm_x130nm_na0.85_n1.0.tif"
    spot = kernel(Measured(tifffile.imread(file).astype(np.float32), (0.3, 0.13, 0.13)), (0.25, 0.13, 0.13))
    middle = tuple(n // 2 for n in spot.shape)
    assert np.unravel_index(spot.argmax(), spot.shape) == middle
    assert spot.shape[1] == spot.shape[2] == 47
    assert spot.sum() == pytest.approx(1.0, abs=1e-4)
    in_focus, out_of_focus = spot[middle[0]], spot[-1]
    assert in_focus.max() > 5 * out_of_focus.max()


@pytest.mark.parametrize("off_px", [(0.0, 0.0), (0.5, -0.3)])
def test_psf_measured_between_pixels_is_centred(off_px: tuple[float, float]) -> None:
    """Were it half a pixel off, so would be everything that a network learns to restore with it."""
    y, x = (np.exp(-((np.arange(-10, 11) - off) ** 2) / 8) for off in off_px)
    z = np.exp(-(np.arange(-4, 5) ** 2) / 4)
    spot = kernel(Measured((z[:, None, None] * y[:, None] * x).astype(np.float32), (0.2, 0.1, 0.1)), (0.2, 0.1, 0.1))
    bright = np.where(spot > 0.1 * spot.max(), spot, 0)
    middle = [float((bright * places).sum() / bright.sum()) for places in np.indices(spot.shape)]
    assert middle == pytest.approx([n // 2 for n in spot.shape], abs=0.07)


def test_light_dose_and_bleaching() -> None:
    scope = Microscope(Worm(1, (48.0, 48.0)), GaussianSpot(), bleach_dose=100.0)
    plane = Grid.centred((1, 64, 64), (1.0, 0.75, 0.75))
    fresh = scope.electrons(plane, 0.0, Light())
    assert np.allclose(scope.electrons(plane, 0.0, Light(6.0, 20.0)), 12 * fresh, rtol=1e-5)
    assert np.allclose(scope.electrons(plane, 0.0, Light(earlier_dose=100.0)), fresh / np.e, rtol=1e-5)


def test_truth_is_its_planes() -> None:
    scope = Microscope(Worm(1, (48.0, 48.0)), GaussianSpot())
    grid = Grid.centred((3, 32, 32), (2.0, 0.75, 0.75))
    volume = scope.truth(grid, 4.0, Light())
    assert volume.dtype == np.float32
    assert np.array_equal(volume[1], scope.electrons(grid.plane(1), 4.0, Light()))
