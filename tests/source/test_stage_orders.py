"""Orders for a microscope that the daemon drives."""

from __future__ import annotations

import pytest

from care_live.errors import ConfigError
from care_live.source.stage_orders import StageOrder, order_of


def test_an_order_says_what_is_wrong_with_it() -> None:
    assert order_of({"z_um": 3, "live": True}) == StageOrder(z_um=3.0, live=True)
    with pytest.raises(ConfigError, match="nope"):
        order_of({"nope": 1})
    with pytest.raises(ConfigError, match="positive"):
        order_of({"exposure_ms": 0.0})
    with pytest.raises(ConfigError, match="z_um = nan: wanted micrometres"):
        order_of({"z_um": float("nan")})
    with pytest.raises(ConfigError, match="z_um says where the focus goes, by_um how far it moves: give one of them"):
        order_of({"z_um": 1.0, "by_um": 2.0})
    with pytest.raises(ConfigError, match="the order is empty: it may have x_um"):
        order_of({})
