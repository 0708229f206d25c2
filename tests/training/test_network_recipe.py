"""The network that a recipe asks for."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from care_live.training.network_recipe import NetworkRecipe


def test_an_old_network_section_still_means_a_network() -> None:
    assert NetworkRecipe.model_validate({"last_activation": "relu"}).standardise is False
    assert NetworkRecipe.model_validate({"axes": "YX"}).pool_px == (2, 2)


def test_impossible_networks_are_refused() -> None:
    with pytest.raises(ValidationError, match="odd"):
        NetworkRecipe(kernel_px=4)
    with pytest.raises(ValidationError, match="residual"):
        NetworkRecipe(n_channels_in=2, residual=True)
    with pytest.raises(ValidationError, match="pool_px"):
        NetworkRecipe(axes="YX", pool_px=(1, 2, 2))
