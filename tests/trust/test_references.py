"""Reference planes: never restored, compared with their twins, and what they show holds for the volumes behind them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from care_live.config import AcquisitionConfig, ReferenceConfig, StoreConfig, parse
from care_live.errors import ConfigError
from care_live.images import (
    REFERENCE,
    Integrity,
    ModelIdentity,
    Plan,
    Restored,
    RunStarted,
    Volume,
    VolumeKey,
    read_only,
)
from care_live.model.card import NetworkVerdict
from care_live.source.micromanager import events_of
from care_live.source.reference_planes import heights
from care_live.source.tap import planned
from care_live.store import RunReader, open_run
from care_live.trust.references import References
from care_live.trust.twins import shifted
from care_live.verdict import Trust
from tests.make import runs
from tests.make.verdicts import card_verdict
from tests.trust import photons
from tests.trust.photons import restored_of, worm

PLAN = Plan(stacks={}, shape_px=(128, 128), channels=("GFP", f"GFP{REFERENCE}"))
Z = 8
Pair = Callable[[], tuple[Restored, Volume]]
PLAN_OF_TWO = Plan(
    {VolumeKey(0): tuple(range(16)), VolumeKey(0, 0, 1): (Z,)}, (128, 128), channels=("GFP", f"GFP{REFERENCE}")
)
"""One time point of `PLAN`, as a store needs it."""

PROMISED = card_verdict(raw_db=22.0, filter_db=26.0, network_db=26.0)


def dim(t: int, *, width: float, bias: float = 0.0, error: float = 4.0) -> Restored:
    """A volume whose network errs by a Laplace scale of *error* counts, and says so times *width*."""
    scene, rng = worm(3), np.random.default_rng(t)
    mean = scene.truth + bias + rng.laplace(0, error, scene.truth.shape)
    one = restored_of(scene.raw, mean)
    maps = {**one.maps, "laplace_scale": read_only(np.full(mean.shape, error * width, np.float32))}
    return replace(one, key=VolumeKey(t), maps=maps, raw=replace(one.volume, key=VolumeKey(t), exposure_ms=10.0))


def bright(t: int, light: float = 30.0) -> Volume:
    """Its plane `Z`, exposed longer."""
    plane = photons.noise_of(100 + light * (worm(3).truth[Z : Z + 1] - 100), seed=t)
    twin = dim(t, width=1.0).volume
    return replace(
        twin, key=VolumeKey(t, 0, 1), pixels=read_only(plane), integrity=Integrity((Z,), (Z,)), exposure_ms=10.0 * light
    )


def followed(*volumes: Volume) -> References:
    references = References(PLAN)
    for volume in volumes:
        references.take(volume)
    return references


def test_a_reference_is_known_by_the_name_of_its_channel() -> None:
    references = followed()
    assert references.is_reference(VolumeKey(0, 0, 1)) and not references.is_reference(VolumeKey(0, 0, 0))


def test_the_measured_error_stays_with_the_volumes_behind_it() -> None:
    references = followed(dim(0, width=1.0).volume, bright(0))
    first, second = (references.judged(dim(t, width=1.0), None) for t in (0, 1))
    assert first.trust is not None and second.trust is not None and first.trust.measured is not None
    assert first.trust.measured.coverage == pytest.approx(0.9, abs=0.03)
    assert first.trust.measured.dose == pytest.approx(30 / 16)
    assert second.trust.measured == first.trust.measured


def test_light_of_another_preset_is_counted() -> None:
    references = References(PLAN, ReferenceConfig(light=30.0, presets=(("GFP", "GFP full"),)))
    for volume in (dim(0, width=1.0).volume, replace(bright(0), exposure_ms=10.0)):
        references.take(volume)
    judged = references.judged(dim(0, width=1.0), None)
    assert judged.trust is not None and judged.trust.measured is not None
    assert judged.trust.measured.dose == pytest.approx(30 / 16)


def test_intervals_that_are_too_narrow_are_widened_and_the_verdict_says_so() -> None:
    references = followed(bright(0))
    judged = references.judged(dim(0, width=0.4), None)
    assert judged.trust is not None and judged.trust.measured is not None
    assert judged.trust.colour == "amber" and "held" in judged.trust.reasons[0]
    assert judged.maps["laplace_scale"].mean() == pytest.approx(4.0, rel=0.2)
    references.take(bright(1))
    again = references.judged(dim(1, width=0.4), None)
    assert again.trust is not None and again.trust.measured is not None
    assert again.trust.measured.coverage == pytest.approx(0.9, abs=0.03)
    assert again.trust.colour == "green"


def light_of(references: References, t: int, *, error: float, promised: NetworkVerdict | None) -> Trust:
    """Expose a reference, and restore its twin by a network that knows how much it errs."""
    references.take(bright(t))
    trust = references.judged(dim(t, width=1.0, error=error), None, promised).trust
    assert trust is not None
    return trust


def test_an_error_above_that_of_the_card_is_amber_from_the_second_reference_on() -> None:
    references = followed()
    first, second = (light_of(references, t, error=16.0, promised=PROMISED) for t in (0, 4))
    assert (first.colour, second.colour) == ("green", "amber")
    assert "time points 0 to 4" in second.reasons[0] and "in the card 26.0 dB" in second.reasons[0]
    behind = references.judged(dim(5, width=1.0, error=16.0), None, PROMISED).trust
    assert behind is not None and behind.reasons == second.reasons
    good = light_of(references, 8, error=2.0, promised=PROMISED)
    assert (good.colour, good.reasons) == ("green", ())


def test_one_bad_plane_between_good_ones_is_no_alarm() -> None:
    references = followed()
    lights = [light_of(references, t, error=error, promised=PROMISED) for t, error in enumerate((16.0, 2.0, 16.0, 2.0))]
    assert [light.colour for light in lights] == ["green"] * 4


def test_a_card_without_an_error_promises_nothing() -> None:
    references = followed()
    assert [light_of(references, t, error=16.0, promised=None).colour for t in range(3)] == ["green"] * 3


def test_a_run_that_goes_on_knows_what_was_measured_before(tmp_path: Path) -> None:
    before = followed(dim(0, width=0.4).volume, bright(0))
    judged = before.judged(dim(0, width=0.4), None)
    writer = open_run(StoreConfig(directory=tmp_path, keep_free_mib=0), RunStarted("trust", PLAN_OF_TWO, {}))
    for raw in (dim(0, width=0.4).volume, bright(0)):
        writer.write_raw(raw)
    writer.write_restored(judged)
    assert judged.trust is not None and judged.trust.measured is not None
    assert {place: one.trust and one.trust.measured for place, one in writer.newest_measured().items()} == {
        (0, 0): judged.trust.measured
    }
    after = References(PLAN_OF_TWO)
    after.go_on(writer.newest_measured(), writer.raw_records())
    writer.close()
    resumed, undisturbed = (one.judged(dim(1, width=0.4), None) for one in (after, before))
    assert resumed.trust is not None and resumed.trust == undisturbed.trust
    assert resumed.trust.measured == judged.trust.measured
    assert (resumed.trust.colour, resumed.trust.reasons) == ("amber", judged.trust.reasons)
    assert resumed.maps["laplace_scale"].mean() == judged.maps["laplace_scale"].mean()
    after.take(bright(2))
    again = after.judged(dim(2, width=0.4), None).trust
    assert again is not None and again.measured is not None and again.measured.dose == pytest.approx(2 * 30 / 16)


def test_another_network_is_not_measured_by_the_errors_of_the_one_before() -> None:
    references = followed(bright(0), bright(2))
    references.judged(dim(0, width=0.4), None)
    other = ModelIdentity("other", "1" * 64)
    unknown = references.judged(replace(dim(1, width=1.0), model=other), None)
    assert unknown.trust is None and unknown.maps["laplace_scale"].mean() == pytest.approx(4.0)
    measured = references.judged(replace(dim(2, width=1.0), model=other), None).trust
    assert measured is not None and measured.measured is not None
    assert measured.measured.widening == pytest.approx(1.0, abs=0.05)


def test_what_was_restored_late_says_nothing_of_newer_volumes() -> None:
    references = followed(bright(5), bright(0))
    newest = references.judged(dim(5, width=1.0), None)
    references.judged(dim(0, width=0.2), None)
    after = references.judged(dim(6, width=1.0), None)
    assert newest.trust is not None and after.trust is not None
    assert after.trust.measured == newest.trust.measured


def lost_twin() -> tuple[Restored, Volume]:
    lost = dim(0, width=1.0)
    planes = lost.volume.integrity.expected
    return replace(lost, raw=replace(lost.volume, integrity=Integrity(planes, planes[:Z] + planes[Z + 1 :]))), bright(0)


def constant() -> tuple[Restored, Volume]:
    return dim(0, width=1.0), replace(bright(0), pixels=read_only(np.full((1, 128, 128), 9, np.uint16)))


def moved(by_px: float) -> tuple[Restored, Volume]:
    there = shifted(worm(3).truth[Z].astype(np.float64), (0.0, by_px))[None]
    return dim(0, width=1.0), replace(bright(0), pixels=read_only(photons.noise_of(100 + 30 * (there - 100), seed=0)))


def saturated() -> tuple[Restored, Volume]:
    return dim(0, width=1.0), replace(
        bright(0), pixels=read_only(np.where(bright(0).pixels > 200, 65535, bright(0).pixels))
    )


def smaller() -> tuple[Restored, Volume]:
    return dim(0, width=1.0), replace(bright(0), pixels=read_only(bright(0).pixels[:, :64]))


def of_other_planes() -> tuple[Restored, Volume]:
    one = dim(0, width=1.0)
    return replace(one, maps={name: image[::2] for name, image in one.maps.items()}), bright(0)


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        (lost_twin, "the plane that it shows once more is lost"),
        (constant, "the reference plane is constant"),
        (lambda: moved(2), "the specimen moved by 2.0 px between the two exposures"),
        (lambda: moved(20), "the specimen moved by 20.0 px"),
        (saturated, "of the reference plane is saturated: take less reference.light"),
        (smaller, "it has another size"),
        (of_other_planes, "the network gives other planes than the camera"),
    ],
    ids=["lost", "constant", "moved", "moved-far", "saturated", "smaller", "resampled"],
)
def test_a_reference_that_says_nothing_changes_nothing_and_says_why(pair: Pair, says: str) -> None:
    restored, reference = pair()
    judged = followed(reference).judged(restored, None)
    assert judged.trust is not None and judged.trust.measured is None
    assert says in judged.trust.unmeasured and "time point 0" in judged.trust.unmeasured
    assert (judged.trust.colour, judged.trust.reasons) == ("green", ())
    assert judged.maps["laplace_scale"] is restored.maps["laplace_scale"]


def test_what_moved_a_little_is_measured_where_it_lies_now() -> None:
    still, went = (followed(moved(by_px)[1]).judged(dim(0, width=1.0), None).trust for by_px in (0.0, 0.6))
    assert still is not None and went is not None and still.measured is not None and went.measured is not None
    assert (still.measured.shift_px, went.measured.shift_px) == (0.0, pytest.approx(0.6, abs=0.15))
    assert went.measured.psnr_db == pytest.approx(still.measured.psnr_db, abs=0.5)
    assert went.measured.coverage == pytest.approx(still.measured.coverage, abs=0.025)
    assert went.colour == "green"


def test_a_reference_that_comes_late_is_measured_with_the_next_volume() -> None:
    references = References(PLAN)
    first = references.judged(dim(0, width=1.0), None)
    references.take(bright(0))
    second = references.judged(dim(1, width=1.0), None)
    assert first.trust is None and second.trust is not None and second.trust.measured is not None
    assert second.trust.measured.t == 0


def test_channels_and_positions_are_measured_by_themselves() -> None:
    channels = ("GFP", "RFP", f"GFP{REFERENCE}", f"RFP{REFERENCE}")
    references = References(dataclasses.replace(PLAN, channels=channels))
    for p, width in enumerate((1.0, 0.4)):
        references.take(replace(bright(0), key=VolumeKey(0, p, 3)))
        one = replace(dim(0, width=width), key=VolumeKey(0, p, 1))
        judged = references.judged(one, None)
        assert judged.trust is not None and judged.trust.measured is not None
        assert judged.trust.colour == ("green", "amber")[p]
    other = replace(dim(0, width=1.0), key=VolumeKey(0, 0, 0))
    assert references.judged(other, None) is other


def test_references_follow_their_twins_and_get_the_last_channel_numbers() -> None:
    acquisition = AcquisitionConfig.model_validate(
        {"time_points": 4, "z_planes": 6, "channels": [{"preset": "DAPI"}, {"preset": "FITC"}], "interval_s": 1.0}
        | {"reference": {"every": 3, "planes": 2, "light": 5.0}}
    )
    events = events_of(acquisition)
    twins = [(before, after) for before, after in itertools.pairwise(events) if REFERENCE in str(after)]
    assert len(twins) == 2 * 2 * 2
    for low, high in twins:
        assert high["exposure"] == 5.0 * low["exposure"]
        assert {**high["axes"], "channel": ""} == {**low["axes"], "channel": ""}
    outline = planned(events)
    assert outline.places.channels == ("DAPI", "FITC", f"DAPI{REFERENCE}", f"FITC{REFERENCE}")
    assert outline.stacks[VolumeKey(3, 0, 2)] == heights(acquisition.reference, 3, range(6))
    assert heights(acquisition.reference, 1, range(6)) == ()


def test_every_height_gets_its_references() -> None:
    wanted = ReferenceConfig(every=10)
    assert {z for t in range(400) for z in heights(wanted, t, range(10))} == set(range(10))


def test_the_section_stands_alone_or_in_the_acquisition_and_light_has_a_limit() -> None:
    config = parse({"source": {"kind": "virtual"}, "reference": {"every": 50}}, origin="test")
    assert config.source.acquisition.reference == ReferenceConfig(every=50)  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="more light"):
        parse({"source": {"kind": "virtual"}, "reference": {"every": 1, "light": 100.0}}, origin="test")
    with pytest.raises(ConfigError, match="planes"):
        parse({"source": {"kind": "virtual"}, "reference": {"planes": 99}}, origin="test")


@pytest.mark.slow
@pytest.mark.mm
def test_a_run_measures_itself(tmp_path: Path) -> None:
    source = {"kind": "virtual", "shape_px": [64, 64], "acquisition": {"time_points": 3, "z_planes": 8}}
    settings = runs.config(tmp_path, source, reference={"every": 2, "light": 12.0}, restore={"policy": "latest"})
    status = runs.run(settings)
    assert (status.lost_planes, status.unrestored, status.restored) == (0, 0, 3)
    assert status.measured_psnr_db is not None and status.measured_psnr_db > 15
    assert status.reference_dose == pytest.approx(2 * 12 / 24)
    reader = RunReader(tmp_path / "runs" / "test")
    assert reader.plan.channels[1].endswith(REFERENCE)
    assert [key.t for key in reader.keys("raw") if key.c == 1] == [0, 2]
    assert {key.c for key in reader.keys("restored")} == {0}
    trust = reader.restoration(VolumeKey(1)).trust
    assert trust is not None and trust.measured is not None and trust.measured.t in (0, 2)
