"""Stamps of the PSF between pixels."""

from __future__ import annotations

import numpy as np

from care_live.simulate import GaussianSpot, Grid, stamps
from care_live.simulate.psf import kernel
from care_live.simulate.specimen import Particles, Profile

BALL = Profile(1.5)


def one_particle(z_um: float, y_um: float, x_um: float) -> Particles:
    return Particles(np.array([[z_um, y_um, x_um]]), np.ones(1, np.float32), np.zeros(1, np.intp))


def test_stamps_equal_the_convolved_volume() -> None:
    """Drawing blurred stamps is the same as drawing sharp particles and blurring the volume."""
    rng = np.random.default_rng(0)
    step = (0.25, 0.5, 0.5)
    place = rng.integers((-4, -6, -6), (5, 7, 7), (12, 3)) * step
    particles = Particles(place, rng.uniform(0.5, 2, 12).astype(np.float32), np.zeros(12, np.intp))
    grid = Grid.centred((61, 41, 41), step)
    wide = GaussianSpot(axial_fwhm_um=2.0, lateral_fwhm_um=1.2)
    planes = range(grid.shape_px[0])
    sharp = np.stack([stamps.make((BALL,), None, 0.5).draw(particles, grid.plane(z)) for z in planes])
    blurred = np.stack([stamps.make((BALL,), wide, 0.5).draw(particles, grid.plane(z)) for z in planes])
    whole = stamps.convolve(sharp, kernel(wide, step))
    assert np.abs(blurred - whole).max() < 0.03 * whole.max()


def test_particles_at_the_edge_are_cut_and_not_wrapped() -> None:
    table = stamps.make((BALL,), None, 0.5)
    plane = Grid((1, 20, 20), (1.0, 0.5, 0.5))
    corner = table.draw(one_particle(0.0, 0.0, 0.0), plane)
    assert corner[0, 0] > 0
    assert corner[10:, :].max() == corner[:, 10:].max() == 0
    assert table.draw(one_particle(0.0, -50.0, 0.0), plane).max() == 0
