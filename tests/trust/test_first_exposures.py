"""Which planes of a restored volume are compared with their second exposures, and why some can't be."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.images import Integrity, Restored, Volume, VolumeKey
from care_live.model.card import Calibration
from care_live.model.reliability import half_width_factor
from care_live.trust.first_exposures import figures_of, first_exposures_of
from care_live.trust.reference import LEVEL
from tests.make import records

HALF = Calibration(levels=(LEVEL,), factors=(2.0,))


def dim(z: tuple[int, ...] = (0, 5, 10, 15), *, missing: tuple[int, ...] = ()) -> Volume:
    pixels = np.random.default_rng(0).poisson(200, (len(z), 64, 64)).astype(np.uint16)
    came = tuple(one for one in z if one not in missing)
    return records.volume(pixels, VolumeKey(3), integrity=Integrity(z, came))


def result(volume: Volume, n_planes: int | None = None) -> Restored:
    maps = {"mean": volume.pixels[:n_planes], "laplace_scale": np.full(volume.pixels[:n_planes].shape, 8.0)}
    return records.restored(volume, maps)


def test_only_planes_at_the_heights_of_the_reference_are_kept_and_as_copies() -> None:
    shared = result(dim())
    first = first_exposures_of(shared, (5, 15, 99), HALF)
    assert sorted(first.planes) == [5, 15] and not first.problem
    np.testing.assert_array_equal(first.planes[5].mean, shared.mean[1])
    assert not np.shares_memory(first.planes[5].mean, shared.mean), "results lie in memory that is used again"
    assert first.nbytes == 2 * 64 * 64 * (2 + 4)


def test_the_interval_is_the_one_that_the_card_corrects() -> None:
    (plain,), (corrected,) = (first_exposures_of(result(dim()), (5,), card).planes.values() for card in (None, HALF))
    assert plain.half_width is not None and corrected.half_width is not None
    np.testing.assert_allclose(plain.half_width, half_width_factor(LEVEL, None) * 8)
    np.testing.assert_allclose(corrected.half_width, 2 * plain.half_width)


def test_a_plane_that_did_not_come_is_compared_with_nothing() -> None:
    first = first_exposures_of(result(dim(missing=(5,))), (5,), None)
    assert first.problem == "the plane that it shows once more is lost"
    with pytest.raises(ValueError, match="is lost"):
        figures_of(first, dim((5,)))


def test_other_planes_than_the_cameras_cannot_be_compared() -> None:
    first = first_exposures_of(result(dim(), n_planes=2), (5,), None)
    assert first.problem == "the network gives other planes than the camera"


def test_a_reference_of_another_place_or_size_is_refused() -> None:
    first = first_exposures_of(result(dim()), (5,), None)
    with pytest.raises(ValueError, match="no plane was exposed both times"):
        figures_of(first, dim((10,)))
    smaller = records.volume(np.ones((1, 32, 32), np.uint16), integrity=Integrity((5,), (5,)))
    with pytest.raises(ValueError, match="another size"):
        figures_of(first, smaller)
