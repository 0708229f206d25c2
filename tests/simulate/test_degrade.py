"""Degradations for training: each step does what its name says, and together they fit the restorer."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.errors import ConfigError
from care_live.simulate import GaussianSpot, noise
from care_live.simulate.degrade import (
    anisotropic,
    blur,
    deconvolution_pair,
    photon_noise,
    restack,
    thin_out,
    turned_psf,
)

SPOT = GaussianSpot(axial_fwhm_um=3.0, lateral_fwhm_um=0.6)


def spots() -> np.ndarray:
    image = np.zeros((2, 61, 61), np.float32)
    image[0, 30, 30] = image[1, 20, 40] = 1000.0
    return image


def test_turned_psf_is_long_along_y() -> None:
    psf = turned_psf(SPOT, 0.25)
    widths = [float(np.sum(psf.sum(axis=axis) > psf.sum(axis=axis).max() / 2)) for axis in (1, 0)]
    assert psf.sum() == pytest.approx(1.0, abs=1e-5)
    assert psf.shape[0] % 2 == psf.shape[1] % 2 == 1
    assert widths[0] > 3 * widths[1]


def test_blur_keeps_the_sum_and_the_place() -> None:
    blurred = blur(spots(), turned_psf(SPOT, 0.25))
    assert blurred.sum(axis=(1, 2)) == pytest.approx([1000, 1000], rel=1e-3)
    assert [np.unravel_index(plane.argmax(), plane.shape) for plane in blurred] == [(30, 30), (20, 40)]


def test_blur_of_a_constant_is_the_constant_up_to_the_edge() -> None:
    flat = np.full((33, 47), 7.0, np.float32)
    assert np.allclose(blur(flat, turned_psf(SPOT, 0.25)), 7.0, rtol=1e-4)


@pytest.mark.parametrize("factor", [2.0, 4.0, 10.2])
def test_thinning_and_restacking_leaves_straight_lines_alone(factor: float) -> None:
    ramp = np.broadcast_to(np.arange(102, dtype=np.float32)[:, None], (102, 5))
    thin = thin_out(ramp, factor)
    assert thin.shape == (round(102 / factor), 5)
    assert np.allclose(restack(thin, 102), ramp, atol=1e-3)


def test_restacking_is_what_the_restorer_does_with_planes() -> None:
    planes = np.random.default_rng(0).uniform(0, 9, (6, 4)).astype(np.float32)
    places = np.arange(61) * 5 / 60
    expected = [np.interp(places, np.arange(6), planes[:, x]) for x in range(4)]
    assert np.allclose(restack(planes, 61), np.stack(expected, axis=1), atol=1e-5)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="leave 1"):
        thin_out(np.zeros((12, 4), np.float32), 10.2)


def test_photon_noise_has_the_asked_for_variance() -> None:
    image = np.full((300, 300), 60.0, np.float32)
    noisy = photon_noise(image, noise.generator(1), counts_per_electron=3.0, gauss_counts=4.0)
    assert noisy.mean() == pytest.approx(60.0, abs=0.25)
    assert noisy.var() == pytest.approx(60.0 * 3.0 + 16.0, rel=0.03)
    assert np.array_equal(photon_noise(image, noise.generator(1), counts_per_electron=0.0), image)


def test_anisotropic_blurs_then_keeps_planes_then_interpolates() -> None:
    psf = turned_psf(SPOT, 0.25)
    blurred = blur(spots(), psf)
    clean = anisotropic(spots(), psf, 4.0, rng=noise.generator(1))
    assert np.allclose(clean[..., ::4, :], blurred[..., ::4, :])
    assert np.allclose(clean[..., 2:-1:4, :], (blurred[..., :-4:4, :] + blurred[..., 4::4, :]) / 2, atol=1e-4)
    noisy = [anisotropic(spots(), psf, 4.0, rng=noise.generator(5), counts_per_electron=1.0) for _ in range(2)]
    assert noisy[0].dtype == np.float32
    assert np.array_equal(*noisy)


def test_planes_may_lie_anywhere_and_at_broken_distances() -> None:
    ramp = np.repeat(np.arange(40, dtype=np.float32)[:, None], 5, axis=1)
    seen = anisotropic(ramp, np.ones((1, 1), np.float32), 10.2, rng=noise.generator(1), first=3.5)
    assert np.allclose(seen[4:34], ramp[4:34], atol=1e-4)  # what rises evenly is interpolated without a trace
    assert np.allclose(seen[:4], 3.5)
    assert np.allclose(seen[35:], 3.5 + 3 * 10.2)


def test_slices_with_less_than_two_planes_are_refused() -> None:
    with pytest.raises(ConfigError, match="9 rows hold 1 planes"):
        anisotropic(np.zeros((9, 9), np.float32), np.ones((1, 1), np.float32), 10.2, rng=noise.generator(1))


@pytest.mark.parametrize("specimen", ["tubules", "granules"])
def test_deconvolution_pair(specimen: str) -> None:
    first, again = (deconvolution_pair(3, (96, 96), specimen=specimen, psf=GaussianSpot()) for _ in range(2))  # type: ignore[arg-type]
    assert np.array_equal(first.sharp, again.sharp)
    assert np.array_equal(first.blurred, again.blurred)
    assert first.sharp.min() >= 0
    coarse = [np.asarray(image, np.float64).reshape(12, 8, 12, 8).mean(axis=(1, 3)).ravel() for image in first]
    assert np.corrcoef(*coarse)[0, 1] > 0.8
    peak = (np.quantile(first.blurred, 0.999) - 100) / 2.17
    assert 70 < peak < 160
    assert (first.sharp > 0.5 * first.sharp.max()).mean() < (first.blurred > 100 + 0.5 * peak * 2.17).mean()
