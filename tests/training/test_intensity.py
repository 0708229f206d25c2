"""A pair's targets are brought to the counts of its inputs, whatever the exposure of either."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from care_live.model import file
from care_live.training.data.examples import paired
from care_live.training.data.intensity import line_of
from care_live.training.data.loading import gather
from care_live.training.evaluation.inference import apply_to, open_engine
from tests.make.image_files import write_pairs
from tests.training.conftest import blobs, small_recipe

SHAPE = (4, 96, 96)


@pytest.mark.parametrize("shift", [0, 1])
def test_gain_and_offset_are_found_through_noise_and_a_small_shift(shift: int) -> None:
    clean = blobs(3, SHAPE)[None]
    dim = 100 + 0.1 * clean + np.random.default_rng(0).normal(0, 20, clean.shape)
    line = line_of(300 + 3 * np.roll(clean, shift, axis=-1), dim)
    assert line is not None
    assert line.gain[0] == pytest.approx(0.1 / 3, rel=0.15)
    assert line.dimmed(300 + 3 * clean).mean() == pytest.approx(dim.mean(), abs=1)


def test_what_shows_something_else_or_has_another_shape_has_no_line() -> None:
    one = blobs(3, SHAPE)[None]
    assert line_of(one, blobs(4, SHAPE)[None]) is None
    assert line_of(one, one[:, 0]) is None


def test_input_and_target_of_a_patch_are_in_the_same_counts() -> None:
    """With noise in the input alone, the ranges of the two differ; the patch must not."""
    clean = blobs(5, SHAPE)[None]
    dim = (100 + 0.2 * clean + np.random.default_rng(0).normal(0, 40, clean.shape)).astype(np.float32)
    bright = 50 + 10 * clean
    volume = paired("pair", [dim], bright, lines=[line_of(bright, dim)])
    patch = volume.cut((0, 0, 0), SHAPE, None)
    shown = clean[0] > 200
    assert patch.input[0][shown].mean() == pytest.approx(patch.target[0][shown].mean(), abs=0.01)
    own = replace(volume, lines=()).cut((0, 0, 0), SHAPE, None)
    assert abs(own.input[0][shown].mean() - own.target[0][shown].mean()) > 0.03


def test_without_a_line_every_image_keeps_its_own_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path)
    assert gather(small_recipe(tmp_path)).target_unit == "counts"
    monkeypatch.setattr("care_live.training.data.intensity.LEAST_CORRELATION", 1.1)
    data = gather(small_recipe(tmp_path))
    assert data.target_unit == "percentiles"
    assert not any(volume.lines for volume in data.training)


def test_a_truth_is_compared_in_the_counts_that_the_network_restores(tmp_path: Path) -> None:
    clean = blobs(3, SHAPE)[None]
    expected = 100 + 0.2 * clean
    dim = np.rint(expected + np.random.default_rng(0).normal(0, 10, clean.shape)).astype(np.uint16)
    bright = np.rint(300 + 8 * clean).astype(np.uint16)
    network, card = tmp_path / "own.onnx", file.read_card(file.shipped())
    shutil.copy(file.shipped(), network)
    training = card.training.model_copy(update={"target_unit": "counts"})
    file.write_card(network, card.model_copy(update={"training": training}))
    engine = open_engine(network, threads=1)
    of_bright = apply_to(engine, dim, bright, unit="percentiles").truth
    wanted = apply_to(engine, dim, expected, unit="counts").truth
    assert of_bright == pytest.approx(wanted, abs=0.05)
    own = apply_to(open_engine(file.shipped(), threads=1), dim, bright, unit="percentiles").truth
    assert np.abs(own - wanted).max() > 0.1  # an older network learnt every image in its own range
