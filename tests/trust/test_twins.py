"""Do the two exposures of a reference show the same? What moved is put right, what changed is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from care_live.metrics import psnr_db
from care_live.trust.photon_transfer import camera_of, transfer_points
from care_live.trust.reference import ErrorFigures, measure
from care_live.trust.twins import Twins, aligned, motion, shifted
from tests.trust.photons import noise_of, worm

Z = 9
Image = NDArray[np.float64]


def truth(seed: int) -> Image:
    return worm(seed).truth[Z].astype(np.float64)


def pair(seed: int, shown: Image, *, ceiling: int = 65535) -> Twins:
    """A worm at low light with a network that errs by 2 dB a count or so, and what was exposed 30 times longer."""
    error = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shown.shape), 1.5)
    error *= (0.35 + 0.06 * (truth(seed) - 100)) / error.std()
    mean = ndimage.gaussian_filter(truth(seed), 0.8) + error
    width = np.full(shown.shape, 2.0 * float(np.abs(mean - truth(seed)).mean()))
    reference = noise_of((100 + 30 * (shown - 100))[None].astype(np.float32), seed=77)[0]
    return Twins(worm(seed).raw[Z], np.where(reference > ceiling, 65535, reference), mean, width)


def figures(one: Twins, seed: int) -> ErrorFigures:
    return measure([one], camera_of(transfer_points(worm(seed).raw), "a test"))


def moved(seed: int, by_px: float) -> Image:
    there: Image = ndimage.shift(truth(seed), (0.56 * by_px, 0.83 * by_px), order=3, mode="nearest")
    return there


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("by_px", [0.0, 0.25, 0.5, 1.0])
def test_a_specimen_that_moved_a_little_costs_no_accuracy(seed: int, by_px: float) -> None:
    one = pair(seed, moved(seed, by_px))
    found, still = figures(one, seed), figures(pair(seed, truth(seed)), seed)
    assert found.shift_px == pytest.approx(by_px, abs=0.12)
    assert found.psnr_db == pytest.approx(psnr_db(one.mean, truth(seed)), abs=0.6)
    assert found.coverage(1.0) == pytest.approx(still.coverage(1.0), abs=0.03)


@pytest.mark.parametrize("by_px", [1.5, 2.0, 3.0])
def test_a_specimen_that_moved_further_is_refused(by_px: float) -> None:
    near = "|".join(f"{by_px + off:.1f}" for off in (-0.1, 0.0, 0.1))
    with pytest.raises(ValueError, match=rf"the specimen moved by ({near}) px between the two exposures"):
        measure([pair(3, moved(3, by_px))])


def bent(seed: int) -> Image:
    """A worm that wriggles by half a pixel, some parts one way and some the other."""
    rng = np.random.default_rng(0)
    fields = [ndimage.gaussian_filter(rng.normal(size=(128, 128)), 12) for _ in range(2)]
    places = [axis - 0.7 * way / way.std() for axis, way in zip(np.indices((128, 128)), fields, strict=True)]
    there: Image = ndimage.map_coordinates(truth(seed), places, order=3, mode="nearest")
    return there


def out_of_focus(seed: int) -> Image:
    half: Image = (truth(seed) + worm(seed).truth[Z + 1]) / 2
    return half


@pytest.mark.parametrize("change", [bent, out_of_focus], ids=["bent", "out-of-focus"])
@pytest.mark.parametrize("seed", [3, 4])
def test_a_specimen_that_changed_its_shape_or_focus_is_refused(seed: int, change: object) -> None:
    assert callable(change)
    with pytest.raises(ValueError, match="changed its shape or its focus"):
        measure([pair(seed, change(seed))])


@pytest.mark.parametrize("seed", [3, 4])
def test_what_bleached_between_the_exposures_is_the_same_specimen(seed: int) -> None:
    one = pair(seed, 100 + 0.6 * (truth(seed) - 100))
    assert aligned(one) is one
    assert figures(one, seed).psnr_db == pytest.approx(psnr_db(one.mean, truth(seed)), abs=0.6)


@pytest.mark.parametrize("offset_px", [(2, 0), (0, -3)])
def test_an_error_of_the_network_is_no_motion(offset_px: tuple[int, int]) -> None:
    one = pair(3, truth(3))
    wrong = Twins(one.raw, one.reference, np.roll(one.mean, offset_px, axis=(0, 1)), one.half_width)
    assert motion(wrong) == (0.0, 0.0)
    assert figures(wrong, 3).psnr_db < figures(one, 3).psnr_db - 6


def test_a_moved_pair_among_others_is_left_out() -> None:
    good, bad = pair(3, truth(3)), pair(3, moved(3, 3.0))
    assert measure([good, bad]).psnr_db == measure([good]).psnr_db


def test_saturated_pixels_do_not_count_while_they_are_few() -> None:
    whole = pair(3, truth(3))
    few, many = (int(np.quantile(whole.reference, 1 - share)) for share in (0.0008, 0.05))
    some = figures(pair(3, truth(3), ceiling=few), 3)
    assert some.psnr_db == pytest.approx(figures(whole, 3).psnr_db, abs=0.4)
    with pytest.raises(ValueError, match=r"saturated: take less reference\.light"):
        measure([pair(3, truth(3), ceiling=many)])


def test_a_plane_is_moved_by_fractions_of_a_pixel() -> None:
    y, x = np.indices((64, 64), float)
    wave = np.sin(2 * np.pi * (0.11 * y + 0.07 * x))
    there = np.sin(2 * np.pi * (0.11 * (y - 1.3) + 0.07 * (x + 2.6)))
    inside = (slice(8, -8), slice(8, -8))
    assert np.abs(shifted(wave, (1.3, -2.6)) - there)[inside].max() < 0.02
    assert shifted(wave, (0.0, 0.0)) is wave
