"""The gate measures what the truth would say, by second exposures alone."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from scipy import ndimage

from care_live.metrics import psnr_db
from care_live.model import file
from care_live.prepare.gate import GatedVolume, GateVerdict, is_worth_starting_from, judge_volume, measure_of
from care_live.training.evaluation.evaluate import by_exposure
from care_live.training.evaluation.inference import open_engine
from tests.prepare.conftest import electrons, exposed

SPECIMEN = electrons(3, (12, 96, 96))


@pytest.mark.parametrize(("kind", "light"), [("bright", 30.0), ("dim", 1.0)])
@pytest.mark.parametrize("width", [0.0, 1.0, 2.5])
def test_psnr_by_a_second_exposure_is_that_by_the_truth(
    kind: Literal["bright", "dim"], light: float, width: float
) -> None:
    first, second = exposed(SPECIMEN, seed=1)[0], exposed(SPECIMEN, light=light, seed=2)[0]
    image = ndimage.gaussian_filter(first.astype(np.float32), (0.0, width, width))
    measured = measure_of(first, second, kind)(image, second)
    span = np.ptp(np.percentile(second, (0.1, 99.9))) / (2 * light * np.ptp(np.percentile(SPECIMEN, (0.1, 99.9))))
    assert measured == pytest.approx(psnr_db(image, SPECIMEN) + 20 * np.log10(span), abs=0.7)


def test_a_network_is_as_good_as_itself_and_that_is_not_better() -> None:
    engine = open_engine(file.shipped(), threads=1)
    one = judge_volume("t0", exposed(SPECIMEN), exposed(SPECIMEN, light=30.0), networks=(engine, engine), kind="bright")
    assert one.before_db == one.after_db
    assert one.raw_db < one.filter_db
    gate = GateVerdict("worm3d", "bright", (one,))
    assert not gate.is_better
    assert gate.sentence().startswith("not better than worm3d (+0.0 dB): ")


def test_a_pattern_that_both_dim_exposures_share_is_no_light() -> None:
    """Else the raw image, which keeps it, would be as good as without it."""
    engine = open_engine(file.shipped(), threads=1)
    pattern = np.random.default_rng(0).normal(0, 3, (1, 1, 96, 96))
    clean, with_pattern = (
        judge_volume(
            "t0", *(exposed(SPECIMEN, seed=seed) + shared for seed in (1, 2)), networks=(engine, engine), kind="dim"
        )
        for shared in (0.0, pattern)
    )
    assert with_pattern.raw_db < clean.raw_db - 0.4


def verdict(*, before: float, after: float, filtered: float = 29.0) -> GateVerdict:
    return GateVerdict("old", "dim", (GatedVolume("t0", 20.0, filtered, before, after),))


def test_what_is_worse_is_not_better_and_a_filter_that_does_as_well_is_said() -> None:
    assert verdict(before=30.0, after=30.5).is_better
    assert verdict(before=30.0, after=30.5).sentence() == (
        "better than old by 0.5 dB: 30.5 dB, old 30.0 dB, best filter 29.0 dB, raw 20.0 dB on 1 held-out volumes, by "
        "their second exposures"
    )
    assert not verdict(before=30.0, after=29.9).is_better
    assert "but a filter does as well" in verdict(before=28.0, after=29.1).sentence()


def test_the_better_network_is_found_where_the_noise_leaves_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise that is taken for more than it is must not make two networks alike."""
    engine = open_engine(file.shipped(), threads=1)
    first, second = exposed(SPECIMEN), exposed(SPECIMEN, light=30.0)
    blurred = ndimage.gaussian_filter(first.astype(np.float32), (0, 0, 4, 4))
    monkeypatch.setattr("care_live.prepare.gate.measure_of", lambda *_: by_exposure(1e9))
    monkeypatch.setattr("care_live.prepare.gate.restore", lambda which, image: list(second if which else blurred))
    one = judge_volume("t0", first, second, networks=(None, engine), kind="bright")  # type: ignore[arg-type]
    assert one.after_db > one.before_db + 1
    assert is_worth_starting_from(engine, first, second)
