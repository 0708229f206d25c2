"""Plans and their reference planes: what contradicts itself, or costs too much light, is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from care_live.acquisition_config import (
    AcquisitionConfig,
    MicroManagerConfig,
    ReferenceConfig,
    VirtualConfig,
    check_references,
    with_reference,
)


def with_references(**settings: object) -> VirtualConfig:
    return VirtualConfig.model_validate({"acquisition": {"z_planes": 8, "reference": settings}})


def test_the_dose_of_references_is_light_over_all_other_light() -> None:
    acquisition = AcquisitionConfig(z_planes=32, reference=ReferenceConfig(every=25, planes=1, light=30.0))
    assert acquisition.dose_of_references == pytest.approx(0.0375)
    assert AcquisitionConfig().dose_of_references == 0.0


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"light": 1.0}, "needs more light"),
        ({"planes": 9}, "a stack has 8 planes"),
        ({"every": 1, "planes": 8}, "cost 3000% more light"),
        ({"presets": {"GFP": "GFP full"}}, "no preset of another laser"),
    ],
    ids=["no more light", "more than the stack", "more than double the light", "no such laser"],
)
def test_references_that_say_nothing_or_cost_too_much_are_refused(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_references(with_references(**settings))


def test_references_that_make_sense_pass() -> None:
    check_references(with_references(every=25))
    check_references(VirtualConfig())


def test_a_reference_section_goes_to_the_acquisition_or_to_the_source() -> None:
    assert with_reference({"kind": "virtual", "acquisition": {"z_planes": 4}}, {"every": 5}) == {
        "kind": "virtual",
        "acquisition": {"z_planes": 4, "reference": {"every": 5}},
    }
    assert with_reference({"kind": "pymmcore-plus"}, {"every": 5})["reference"] == {"every": 5}
    with pytest.raises(ValueError, match=r"source.kind is 'replay': expose them yourself"):
        with_reference({"kind": "replay"}, {})


def test_presets_are_named_by_the_channel_that_they_belong_to() -> None:
    reference = ReferenceConfig.model_validate({"presets": {"GFP": "GFP full"}})
    assert reference.preset_of("GFP") == "GFP full"
    assert reference.preset_of("DAPI") is None


@pytest.mark.parametrize("source", [VirtualConfig, MicroManagerConfig])
def test_a_sequence_is_the_plan_and_no_second_one_stands_beside_it(source: type) -> None:
    source.model_validate({"sequence": {"axis_order": "tz"}, "acquisition": {"pixel_size_um": 0.2}})
    with pytest.raises(ValidationError, match=r"source.sequence is the plan: take \['z_planes'\] out"):
        source.model_validate({"sequence": {"axis_order": "tz"}, "acquisition": {"z_planes": 4}})
