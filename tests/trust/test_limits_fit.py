"""Limits follow what good restorations show; few volumes change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from care_live.model.card import EvidenceLimits
from care_live.trust import domain, limits_fit
from care_live.trust.limits_fit import Harmless
from tests.trust.photons import CARD, nucleus, restored_of, worm


def seen(n: int, missing: float = 0.0, *, seed: int = 0) -> list[Harmless]:
    rng = np.random.default_rng(seed)
    return [
        Harmless(((0.0, missing), (0.0, 0.0), (0.0, 0.0)), (1.0, 1.6, 1.0), tuple(rng.normal(size=4)), 10**6)
        for _ in range(n)
    ]


def test_limits_lie_above_what_good_volumes_show_and_never_below_the_defaults() -> None:
    found = limits_fit.limits_of(seen(20, missing=0.2), EvidenceLimits())
    assert found.missing_of_range == (0.25, *EvidenceLimits().missing_of_range[1:])
    assert found.invented_of_range == EvidenceLimits().invented_of_range
    assert found.sd[1] == 2.0
    assert found.n_volumes == 20
    assert found.texture_sd == EvidenceLimits().texture_sd


def test_a_network_that_leaves_more_in_bright_places_gets_a_wider_limit() -> None:
    examples = [replace(one, texture_sd=0.9 + 0.02 * n) for n, one in enumerate(seen(20))]
    assert limits_fit.limits_of(examples, EvidenceLimits()).texture_sd == pytest.approx(1.28 * 1.15, abs=0.01)


def test_few_volumes_change_nothing() -> None:
    before = EvidenceLimits(n_volumes=5)
    assert limits_fit.limits_of(seen(3), before) is before
    assert limits_fit.domain_of(seen(3)) is None


def test_the_domain_holds_its_own_volumes_and_not_others() -> None:
    examples = seen(40)
    found = limits_fit.domain_of(examples)
    assert found is not None
    assert max(domain.distance(one.features, found) for one in examples) < found.limit
    assert domain.distance((9.0, 0.0, 0.0, 0.0), found) > found.limit


def of_size(n_voxels: int, n: int, *, seed: int) -> list[Harmless]:
    """Return volumes whose features scatter the more, the fewer voxels they are taken from."""
    scatter = (10**6 / n_voxels) ** 0.3
    return [
        replace(one, features=tuple(scatter * np.array(one.features)), n_voxels=n_voxels) for one in seen(n, seed=seed)
    ]


def test_a_shallow_volume_of_a_small_field_is_no_other_specimen() -> None:
    large, small = 10**6, 10**4
    found = limits_fit.domain_of([*of_size(large, 40, seed=1), *of_size(small, 40, seed=2)])
    assert found is not None and found.n_voxels == large
    away = [domain.distance(one.features, found) / domain.limit_of(small, found) for one in of_size(small, 200, seed=3)]
    assert np.mean(np.greater(away, 1)) <= 0.05
    far = (8.0, 0.0, 0.0, 0.0)  # among small volumes it would be a usual one
    assert domain.distance(far, found) > domain.limit_of(large, found)
    assert domain.limit_of(0, found) == domain.limit_of(2 * large, found) == found.limit


def test_a_restoration_shows_how_far_it_contradicts_the_photons() -> None:
    scene = worm(11)
    good = limits_fit.look_at(restored_of(scene.raw, scene.truth), CARD)
    wrong = limits_fit.look_at(restored_of(scene.raw, scene.truth + nucleus((8.0, 40.0, 90.0), 8)), CARD)
    assert good is not None
    assert wrong is not None
    assert max(max(pair) for pair in good.worst) == pytest.approx(0)
    assert wrong.worst[1][0] > 0.03
    assert (
        limits_fit.look_at(restored_of(scene.raw, scene.truth), CARD.model_copy(update={"output": "normalised"}))
        is None
    )
