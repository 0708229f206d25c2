"""What is exposed twice, and what light that costs."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from care_live.config import SourceConfig, VirtualConfig
from care_live.errors import ConfigError
from care_live.images import REFERENCE
from care_live.model import file
from care_live.prepare.exposure_plan import ExposurePlan, plan_exposures
from care_live.source.micromanager import events_of
from tests.prepare.conftest import config

CARD = file.read_card(file.shipped())


def plan(**sections: object) -> ExposurePlan:
    return plan_exposures(config(**sections), CARD)


def test_the_dose_is_what_the_events_expose() -> None:
    planned = plan()
    dim_ms = planned.n_run_volumes and 8 * 1.0
    assert sum(event["exposure"] for event in events_of(planned.acquisition)) == pytest.approx(planned.dose * dim_ms)
    assert planned.dose == 4 * (1 + 30)
    assert "the light of 124 volumes of the run, 24.8 times that of the planned run" in planned.describe()


def test_each_plane_is_exposed_again_right_after_itself_and_longer() -> None:
    events = events_of(plan(prepare={"pairs": 4, "light": 7.0}).acquisition)
    pairs = list(zip(events[::2], events[1::2], strict=True))
    assert len(pairs) == 4 * 8
    for first, second in pairs:
        assert second["axes"] == {**first["axes"], "channel": f"DAPI{REFERENCE}"}
        assert (second["z"], second["exposure"]) == (first["z"], 7.0 * first["exposure"])


def test_a_second_dim_exposure_is_as_long_and_costs_as_much() -> None:
    planned = plan(prepare={"pairs": 5, "second": "dim"})
    assert {event["exposure"] for event in events_of(planned.acquisition)} == {1.0}
    assert planned.dose == 10
    assert "as long: the light of 10 volumes" in planned.describe()


def test_places_are_visited_as_often_as_it_takes() -> None:
    places = [{"name": name, "x_um": 99.0} for name in "abcd"]
    planned = plan(prepare={"pairs": 6, "positions": places})
    assert (planned.n_pairs, planned.acquisition.time_points, planned.n_held_out) == (8, 2, 2)
    assert planned.after(1).acquisition.first_time_point == 1


def test_the_engines_process_takes_the_plan_though_a_run_could_not_have_so_many_references() -> None:
    planned = plan(prepare={"pairs": 4, "second": "dim"})
    sent = planned.microscope.model_dump(mode="json", exclude_unset=True) | {"kind": "virtual"}
    came: VirtualConfig = TypeAdapter(SourceConfig).validate_python(sent)
    assert came.acquisition == planned.acquisition


def test_channels_are_those_that_are_restored() -> None:
    channels = [{"preset": "DAPI"}, {"preset": "FITC"}]
    source = {"kind": "virtual", "acquisition": {"channels": channels}}
    assert plan(source=source).channels == ("DAPI",)
    assert plan(source=source, restore={"channels": ["FITC"]}).channels == ("FITC",)
    assert plan(source=source, restore={"channel": [{"name": "FITC"}]}).channels == ("FITC",)
    with pytest.raises(ConfigError, match="names Cy5, but the run has DAPI, FITC"):
        plan(source=source, restore={"channels": ["Cy5"]})
    both = CARD.model_copy(update={"channels_in": ("DAPI", "FITC", "Cy5")})
    with pytest.raises(ConfigError, match="reads 3 channels together, the run has 2"):
        plan_exposures(config(source=source), both)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"kind": "replay", "path": "x"}, "source.kind is 'replay', which does not let care_live expose planes"),
        ({"kind": "studio"}, "care-live train --input low/"),
        ({"kind": "virtual", "sequence": {"channels": ["DAPI"]}}, "prepare needs source.acquisition"),
    ],
)
def test_what_cannot_be_exposed_is_said(source: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan(source=source)


def test_the_microscope_of_live_is_used() -> None:
    source = {"kind": "live", "microscope": {"kind": "virtual", "shape_px": (32, 48)}}
    assert plan(source=source).microscope.kind == "virtual"
