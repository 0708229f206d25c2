"""Features of a restored volume: of its structures, and of no camera's gain; and how far unseen ones lie."""

from __future__ import annotations

import numpy as np

from care_live.trust import domain
from care_live.trust.features import features_of, trained_on
from care_live.trust.smooth import smooth

RNG = np.random.default_rng(3)
FINE = RNG.random((6, 64, 64)).astype(np.float32)
COARSE = smooth(FINE, (1.0, 4.0, 4.0))


def test_a_coarser_specimen_has_less_of_the_finest_contrast() -> None:
    fine, coarse = features_of(FINE, None, 100.0), features_of(COARSE, None, 100.0)
    assert len(fine) == len(coarse)
    assert coarse[0] < fine[0] - 1, "the log of the contrast of neighbouring pixels"


def test_certainty_counts_in_units_of_the_range() -> None:
    scale = np.full(FINE.shape, 20, np.float32)
    with_scale = features_of(FINE, scale, 100.0)
    assert len(with_scale) == len(features_of(FINE, None, 100.0)) + 1
    assert with_scale == features_of(FINE, 3 * scale, 300.0), "a camera of three times the gain"


def test_a_network_of_planes_has_no_contrast_along_z() -> None:
    assert len(features_of(FINE, None, 100.0, has_z=False)) == len(features_of(FINE, None, 100.0)) - 1
    assert all(map(np.isfinite, features_of(FINE[:1, :3, :3], None, 100.0))), "of few pixels, too"


def test_an_example_of_the_kind_is_near_and_another_kind_is_far() -> None:
    examples = RNG.normal(0, 1, (60, 4)) * (1.0, 0.5, 2.0, 0.1)
    trained = trained_on(examples, np.full(60, 10_000))
    assert trained.n_volumes > 50 and trained.growth == 0.0
    inside = [domain.distance(tuple(one), trained) <= trained.limit for one in examples]
    assert np.mean(inside) > 0.9
    assert domain.distance((0.0, 0.0, 0.0, 3.0), trained) > 2 * trained.limit


def test_an_odd_example_does_not_make_everything_look_familiar() -> None:
    examples = RNG.normal(0, 1, (60, 4))
    odd = np.vstack([examples, [[100.0] * 4]])
    plain, with_odd = (trained_on(one, np.full(len(one), 10_000)) for one in (examples, odd))
    assert with_odd.n_volumes < len(odd)
    assert with_odd.limit < 1.5 * plain.limit


def test_few_examples_call_hardly_any_others_foreign() -> None:
    rng, shares = np.random.default_rng(7), []
    for _ in range(30):
        trained = trained_on(rng.normal(0, 1, (24, 6)), np.full(24, 10_000))
        away = [domain.distance(tuple(one), trained) for one in rng.normal(0, 1, (100, 6))]
        shares.append(float(np.mean(np.array(away) > trained.limit)))
    assert np.mean(shares) < 0.006, "0.011 with a limit that does not ask how many there are"
    assert domain.distance((9.0,) * 6, trained) > 2 * trained.limit, "and another kind is far all the same"
