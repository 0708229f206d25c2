"""Examples from the virtual microscope: the truth is known, and every patch has fresh noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from care_live.errors import TrainingError
from care_live.simulate.microscope import NOMINAL_GAIN, NOMINAL_OFFSET
from care_live.training.data.loading import gather
from care_live.training.data.simulated import exposed
from care_live.training.recipe import Recipe


def recipe(data: dict[str, Any], axes: str = "YX") -> Recipe:
    flat = axes == "YX"
    network = {"axes": axes, "pool_px": [2, 2] if flat else [1, 2, 2], "filters": 2}
    fit = {"patch_px": [16, 16] if flat else [4, 16, 16]}
    return Recipe.model_validate({"name": "simulated", "network": network, "data": data, "fit": fit})


def test_every_cut_has_fresh_noise_on_the_same_truth() -> None:
    truth = np.full((1, 4, 32, 32), 20.0, np.float32)
    truth[..., :4] = 0
    volume = exposed("steps", truth, doses=(1.0,), seed=1)
    rng = np.random.default_rng(0)
    one, other = (volume.cut((0, 0, 0), (4, 32, 32), rng) for _ in range(2))
    assert (one.input != other.input).mean() > 0.5
    low, high = volume.dose_spans[0].at(2.0, 99.8)
    again = volume.cut((0, 0, 0), (4, 32, 32), None)
    counts = again.target * (high - low) + low
    assert counts[..., 8:] == pytest.approx(NOMINAL_OFFSET + NOMINAL_GAIN * 20.15, rel=1e-4)
    assert again.input.mean() == pytest.approx(again.target.mean(), abs=0.02)  # noise has no bias


@pytest.mark.slow
def test_the_same_seed_is_the_same_data_and_validation_is_other_data() -> None:
    data = {"kind": "simulated", "specimens": {"worm": 1, "granules": 1}, "validation": {"worm": 1}}
    chosen = recipe(data | {"shape_px": [6, 64, 64]}, axes="ZYX")
    first, second = gather(chosen), gather(chosen)
    assert first.fingerprints == second.fingerprints
    assert len(set(first.fingerprints)) == 3


def test_a_network_of_planes_learns_from_each_plane_that_is_in_focus() -> None:
    data = {"kind": "simulated", "specimens": {"worm": 1}, "validation": {"worm": 1}, "shape_px": [6, 64, 64]}
    gathered = gather(recipe(data))
    assert 1 < len(gathered.training) <= 6
    for plane in (*gathered.training, *gathered.validation):
        assert plane.cut((0, 0), (64, 64), None).input.shape == (1, 64, 64)
        assert len(plane.foreground)


def test_deconvolution_learns_sharp_from_blurred() -> None:
    data = {"kind": "deconvolve", "specimens": {"tubules": 1, "granules": 1}, "validation": {"tubules": 1}}
    gathered = gather(recipe(data | {"shape_px": [96, 96]}))
    for volume in (*gathered.training, *gathered.validation):
        seen, sharp = volume.cut((0, 0), (96, 96), None)
        assert seen.shape == sharp.shape == (1, 96, 96)
        assert (sharp > 0.5).mean() < 0.9 * (seen > 0.5).mean()  # thin structures look thick


def test_deconvolution_draws_new_noise_and_another_light_for_every_patch() -> None:
    data = {"kind": "deconvolve", "specimens": {"tubules": 1}, "validation": {"tubules": 1}, "shape_px": [64, 64]}
    layer = gather(recipe(data | {"peak_electrons": [20.0, 500.0]})).training[0]
    rng = np.random.default_rng(0)
    cuts = [layer.cut((0, 0), (64, 64), rng) for _ in range(12)]
    noise = [float(np.abs(np.diff(cut.input[0], axis=0)).mean()) for cut in cuts]
    assert max(noise) > 1.3 * min(noise)
    assert all(np.corrcoef(cut.target.ravel(), cuts[0].target.ravel())[0, 1] > 0.999 for cut in cuts)


def test_a_broken_psf_names_its_file(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "psf.tif", np.zeros((7, 5, 5), np.float32))
    data = {"kind": "deconvolve", "specimens": {"tubules": 1}, "validation": {"tubules": 1}}
    with pytest.raises(TrainingError, match=r"psf\.tif is no point spread function"):
        gather(recipe(data | {"shape_px": [64, 64], "psf": str(tmp_path / "psf.tif")}))
