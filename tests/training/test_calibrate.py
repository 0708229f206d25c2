"""Calibration judges each volume with factors that other volumes fixed, and stores nothing that holds no better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from care_live.cli import cli
from care_live.errors import TrainingError
from care_live.model import file
from care_live.model.card import Calibration
from care_live.model.reliability import LEVELS
from care_live.training import report
from care_live.training.evaluation.calibrate import calibrate
from care_live.training.evaluation.inference import Applied
from tests.training.conftest import applied


def off(one: Applied, *, gain: float = 1.0, offset: float = 0.0) -> Applied:
    """A network whose mean is off by a line."""
    return replace(one, mean=(one.mean * gain + offset).astype(np.float32))


def test_calibration_holds_on_volumes_it_has_not_seen() -> None:
    result = calibrate([applied(seed, width=2.5) for seed in range(4)])
    assert result.before_ece > 0.1
    assert result.after_ece < 0.02
    assert result.is_better and not result.is_biased
    assert result.calibration.observed_after == pytest.approx(result.calibration.levels, abs=0.02)
    assert result.calibration.factors == pytest.approx([2.5] * 6, rel=0.1)
    assert result.error_by_disagreement[-1] > 3 * result.error_by_disagreement[0]


def test_each_volume_is_judged_once_by_factors_of_the_others() -> None:
    result = calibrate([applied(seed, width=1 + seed % 2) for seed in range(13)])
    assert len(result.judged) == 10
    assert sorted(name for one in result.judged for name in one.names) == sorted(f"v{seed}" for seed in range(13))


def test_factors_of_volumes_that_differ_are_not_better_and_the_reason_names_them() -> None:
    result = calibrate([applied(0, width=0.2), applied(1, width=4.0)])
    assert not result.is_better
    reason = report.why_not_better(result)
    assert "2 of 2 judged worse" in reason
    assert "(v1) to 100% (v0)" in reason


def test_factors_that_are_no_better_than_those_of_the_card_are_not_better() -> None:
    volumes = [applied(seed, width=2.5) for seed in range(4)]
    held = Calibration(levels=LEVELS, factors=(2.5,) * len(LEVELS))
    again = calibrate(volumes, held)
    assert again.before_ece < 0.02
    assert abs(again.before_ece - again.after_ece) < 0.01


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.4), (0.7, 0.3), (1.3, -0.2)])
def test_a_mean_that_is_off_is_not_taken_for_widths_that_are_wrong(gain: float, offset: float) -> None:
    result = calibrate([off(applied(seed), gain=gain, offset=offset) for seed in range(4)])
    assert result.before_ece > 0.03
    assert result.is_biased
    assert "The means are off" in "\n".join(report.reliability_lines(result))


def test_calibration_needs_two_volumes_and_a_scale() -> None:
    with pytest.raises(TrainingError, match="two"):
        calibrate([applied(1)])
    with pytest.raises(TrainingError, match="no Laplace scale"):
        calibrate([replace(applied(1), laplace_scale=None), applied(2)])


@pytest.mark.slow
def test_the_command_stores_nothing_where_nothing_gets_better(tmp_path: Path) -> None:
    """A second time on the same volumes: the card's factors know them all, and those of the others can't do better."""
    model = tmp_path / "net.onnx"
    model.write_bytes(file.shipped().read_bytes())
    rng = np.random.default_rng(5)
    for name, light in (("bright", 40), ("dim", 8)):
        truth = light * np.kron(rng.random((4, 8, 8)) > 0.8, np.ones((2, 8, 8)))
        for folder, image in (("low", rng.poisson(truth)), ("high", rng.permuted(truth * 20, axis=0))):
            (tmp_path / folder).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / folder / f"{name}.tif", np.asarray(100 + image, np.uint16))
    pairs = ["--input", str(tmp_path / "low"), "--target", str(tmp_path / "high"), "--threads", "1"]
    assert CliRunner().invoke(cli, ["calibrate", str(model), *pairs]).exit_code == 0
    before = file.read_card(model).calibration
    assert before is not None
    with pytest.raises(TrainingError, match="nothing is stored"):
        CliRunner().invoke(cli, ["calibrate", str(model), *pairs], catch_exceptions=False)
    assert file.read_card(model).calibration == before
    assert CliRunner().invoke(cli, ["calibrate", str(model), *pairs, "--dry-run"]).exit_code == 0
