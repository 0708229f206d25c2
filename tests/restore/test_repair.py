"""What a network says that is no number, or no width, is caught."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.maps import HEADS, MAPS
from care_live.percentiles import Span
from care_live.restore.repair import geometric_mean, mend, mixture


@pytest.mark.parametrize("bad", [-0.5, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("head", ["laplace_scale", "disagreement"])
def test_a_width_that_is_none_is_as_wide_as_can_be(head: str, bad: float) -> None:
    maps = {name: np.ones((1, 2, 3, 4), np.float32) for name in ("mean", "laplace_scale", "disagreement")}
    assert not mend(maps)  # type: ignore[arg-type]
    maps[head][0, 1, 2, 3] = bad
    assert mend(maps)  # type: ignore[arg-type]
    assert maps["mean"][0, 1, 2, 3] == 0
    assert maps["laplace_scale"][0, 1, 2, 3] == np.inf
    assert maps["disagreement"][0, 1, 2, 3] == 1
    assert maps["mean"].sum() == 23


def test_a_mean_below_zero_is_a_number() -> None:
    maps = {"mean": np.full((1, 2, 3, 4), -7.0, np.float32), "laplace_scale": np.zeros((1, 2, 3, 4), np.float32)}
    assert not mend(maps)  # type: ignore[arg-type]
    assert (maps["mean"] == -7).all()


def test_every_map_of_a_voxel_without_a_number_is_what_its_kind_says() -> None:
    maps = {head: np.full((1, 2, 3, 4), -0.5 if MAPS[head].may_be_negative else 0.5, np.float32) for head in HEADS}
    assert not mend(maps)
    maps["evidence"][0, 0, 0, 0] = np.nan
    assert mend(maps)
    assert [maps[head][0, 0, 0, 0] for head in HEADS] == [MAPS[head].mended for head in HEADS]


def test_two_views_become_one_in_every_map() -> None:
    first, second = ({head: np.full((1, 1, 1, 1), value, np.float32) for head in HEADS} for value in (1.0, 3.0))
    for one in (mixture(first, second), geometric_mean(first, second, [Span(0.0, 1.0)])):
        assert one.keys() == set(HEADS)
        assert one["disagreement"] == one["evidence"] == 2
