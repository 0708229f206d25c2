"""The data that a recipe asks for."""

from __future__ import annotations

from typing import get_args

import click

from care_live.cli.networks import simulate_command
from care_live.training.data import data_recipe


def test_simulate_offers_every_specimen_that_a_recipe_knows() -> None:
    (offered,) = (option.type for option in simulate_command.params if option.name == "specimen")
    assert isinstance(offered, click.Choice)
    assert set(offered.choices) == set(get_args(data_recipe.SpecimenName))
