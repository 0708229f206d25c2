"""Which maps a result has, and how large each is."""

from __future__ import annotations

import pytest

from care_live.config import RestoreConfig
from care_live.model.card import ModelCard
from care_live.restore.result_maps import ResultMaps

CARD = ModelCard(name="test", divisor=(1, 1, 1), halo_px=(0, 0, 0), heads=("mean", "laplace_scale"))
ON = RestoreConfig()


def test_each_head_has_the_size_of_the_result_and_the_evidence_a_coarser_one() -> None:
    shapes = ResultMaps.of(CARD, ON).shapes((5, 33, 64))
    assert list(shapes) == ["mean", "laplace_scale", "evidence"]
    assert shapes["mean"] == shapes["laplace_scale"] == (1, 5, 33, 64)
    assert shapes["evidence"][:2] == (1, 5)
    assert shapes["evidence"][2] * 2 >= 33 > shapes["evidence"][2]


def test_a_projection_has_one_plane() -> None:
    project = CARD.model_copy(update={"task": "project"})
    assert {shape[1] for shape in ResultMaps.of(project, ON).shapes((5, 32, 32)).values()} == {1}


@pytest.mark.parametrize(
    ("card", "config", "numbers"),
    [
        (CARD, RestoreConfig(evidence=False), False),
        (CARD, ON, True),
        (CARD.model_copy(update={"output": "normalised"}), ON, False),
        (CARD.model_copy(update={"channels_in": ("a", "b")}), ON, False),
        (CARD.model_copy(update={"heads": ("mean", "evidence")}), ON, False),
    ],
    ids=["switched off", "no camera counts", "no counts come out", "channels are mixed", "the network has its own"],
)
def test_what_is_not_compared_with_photons_has_no_map_of_that(
    card: ModelCard, config: RestoreConfig, numbers: bool
) -> None:
    assert not ResultMaps.of(card, config, numbers=numbers).with_evidence
