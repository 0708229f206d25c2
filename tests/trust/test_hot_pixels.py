"""Hot pixels are found, named, and neither noise of the camera nor structures."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.trust import hot_pixels
from care_live.trust.examiner import Examiner
from tests.trust.photons import CARD, GAIN, SHAPE, measured_camera, noise_of, restored_of, worm

PLACES = ((20, 30), (64, 90), (64, 91), (64, 92), (127, 0))


def hot(raw: np.ndarray, counts: int, places=PLACES) -> np.ndarray:
    """Return a volume in which some pixels count more, in each plane."""
    out = raw.copy()
    for y, x in places:
        out[:, y, x] += counts
    return out


def many(share: float) -> tuple[tuple[int, int], ...]:
    rng = np.random.default_rng(4)
    chosen = rng.choice(SHAPE[1] * SHAPE[2], round(share * SHAPE[1] * SHAPE[2]), replace=False)
    return tuple((int(at) // SHAPE[2], int(at) % SHAPE[2]) for at in chosen)


def test_three_at_a_corner_are_hot_and_no_spot() -> None:
    corners = tuple((20 + 12 * turn, 40, y, x) for turn, (y, x) in enumerate(((1, 1), (1, -1), (-1, 1), (-1, -1))))
    places = tuple(one for cy, cx, y, x in corners for one in ((cy, cx), (cy + y, cx), (cy, cx + x)))
    for counts in (120, 400):
        found = hot_pixels.hot_in(hot(worm(11).raw, counts, places))
        assert {(int(y), int(x)) for y, x in np.argwhere(found)} == set(places), counts


@pytest.mark.parametrize("counts", [45, 400])
def test_hot_pixels_are_found_where_they_are(counts: int) -> None:
    found = hot_pixels.hot_in(hot(worm(11).raw, counts))
    assert {(int(y), int(x)) for y, x in np.argwhere(found)} == set(PLACES)
    assert (found.max() > 30) == (counts == 400)


def test_bright_sharp_light_and_noise_are_no_hot_pixels() -> None:
    lit = np.full(SHAPE, 100, np.float32)
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    for y, x in ((30, 30), (64, 64), (90, 31)):  # a fibre along z, seen through an objective
        lit += (GAIN * 60 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 2)).astype(np.float32)
    assert not hot_pixels.hot_in(noise_of(lit)).any()
    assert not hot_pixels.hot_in(worm(11).raw).any()
    assert not hot_pixels.hot_in(hot(worm(11).raw, 400)[:3]).any(), "three planes say too little"


@pytest.mark.parametrize("sigma_px", [0.5, 0.65, 0.8])
def test_beads_in_all_planes_are_no_hot_pixels(sigma_px: float) -> None:
    rng, n = np.random.default_rng(5), 30
    lit = np.full((8, *SHAPE[1:]), 100, np.float32)
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    for y, x in rng.uniform(8, np.array(SHAPE[1:]) - 8, (n, 2)):
        lit += (600 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma_px**2))).astype(np.float32)
    assert not np.count_nonzero(hot_pixels.hot_in(noise_of(lit)))


def test_the_counts_of_neighbours_stand_in_for_hot_ones() -> None:
    raw = hot(worm(11).raw, 400)
    mended = hot_pixels.mended(raw, hot_pixels.hot_in(raw))
    assert np.abs(mended.astype(float) - worm(11).raw).max() < 60
    assert np.array_equal(np.delete(mended[:, 20], 30, axis=1), np.delete(worm(11).raw[:, 20], 30, axis=1))
    assert hot_pixels.mended(worm(11).raw, np.zeros(SHAPE[1:], np.float32)) is worm(11).raw


def test_strong_ones_are_blind_as_far_as_a_network_draws_them() -> None:
    weak, strong = (
        hot_pixels.blind_pixels(hot_pixels.hot_in(hot(worm(11).raw, counts, ((60, 60),)))) for counts in (45, 400)
    )
    assert (weak.sum(), strong.sum()) == (9, 81)
    camera = measured_camera(worm(11), pattern=None)
    assert hot_pixels.blind_pixels(np.zeros(SHAPE[1:], np.float32)) is None
    assert hot_pixels.silenced(camera, None) is camera
    assert np.isnan(hot_pixels.silenced(camera, strong).pattern).sum() == 81


@pytest.mark.parametrize("has_file", [False, True], ids=["no camera file", "older camera file"])
@pytest.mark.parametrize("drawn", [0.0, 0.1])
def test_a_right_restoration_with_hot_pixels_is_amber_for_them_alone(drawn: float, *, has_file: bool) -> None:
    """A network draws a spot for each, or none; the file was measured when there were none."""
    places = many(0.002)
    raw = hot(worm(11).raw, 400, places)
    shown = worm(11).truth.copy()
    for y, x in places:
        shown[:, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] += 400 * drawn
    examiner = Examiner(CARD, measured_camera(worm(11)) if has_file else None)
    for _ in range(2):
        trust = examiner.examine(restored_of(raw, shown))
        assert (trust.colour, len(trust.reasons)) == ("amber", 1), trust
        assert "pixels of the camera count more" in trust.reasons[0]
    assert max(trust.sd) < 1.25


def test_few_weak_ones_are_no_reason_to_look() -> None:
    trust = Examiner(CARD, measured_camera(worm(11))).examine(restored_of(hot(worm(11).raw, 45), worm(11).truth))
    assert trust.colour == "green", trust
