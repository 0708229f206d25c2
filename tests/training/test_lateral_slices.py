"""Slices for isotropic resolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.training.data.data_recipe import IsotropicData
from care_live.training.data.examples import Data
from care_live.training.data.lateral_slices import axial_blur
from care_live.training.data.loading import gather
from care_live.training.recipe import Recipe


def slices_of(tmp_path: Path, image: np.ndarray) -> Data:
    (tmp_path / "planes").mkdir()
    tifffile.imwrite(tmp_path / "planes" / "one.tif", image)
    tree = {"kind": "isotropic", "volumes": str(tmp_path / "planes"), "factor": 2.0}
    network = {"axes": "YX", "pool_px": [2, 2]}
    return gather(Recipe.model_validate({"name": "i", "network": network, "data": tree, "fit": {"patch_px": [8, 8]}}))


def test_a_slice_is_judged_or_learnt_from_and_one_with_nothing_on_it_neither(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 1000, (10, 32, 48)).astype(np.uint16)
    image[3] = 5
    data = slices_of(tmp_path, image)
    assert [example.name for example in data.validation] == ["one z=9"]
    assert [example.name for example in data.training] == [f"one z={z}" for z in range(9) if z != 3]


def test_a_slice_is_turned_and_degraded_anew_for_every_patch(tmp_path: Path) -> None:
    x = np.arange(40)[None, None]
    bars = np.broadcast_to(100 + 50 * ((x // 5) % 2), (5, 40, 40))  # upright: blur along y leaves them alone
    example = slices_of(tmp_path, bars.astype(np.uint16)).training[0]
    straight = example.cut((8, 8), (16, 16), None)
    wanted = np.asarray(bars[0, 8:24, 8:24] > 100, np.float32)
    assert straight.target[0] == pytest.approx(wanted, abs=0.01)
    rng = np.random.default_rng(0)
    lying: list[float] = []
    standing: list[float] = []
    for _ in range(20):
        seen, target = example.cut((8, 8), (16, 16), rng)
        slope = [np.abs(np.diff(target[0], axis=axis)).mean() for axis in (0, 1)]
        (lying if slope[0] > 2 * slope[1] else standing).append(np.abs(np.diff(seen[0], axis=0)).mean() / slope[0])
    assert lying and standing  # bars that lie are blurred into each other
    assert max(lying) < 0.8


def test_a_measured_psf_that_is_off_centre_shifts_nothing(tmp_path: Path) -> None:
    z, y, x = (np.exp(-((np.arange(21) - middle) ** 2) / 8) for middle in (12.3, 9.0, 10.0))
    tifffile.imwrite(tmp_path / "psf.tif", (60_000 * z[:, None, None] * y[:, None] * x).astype(np.uint16))
    blur = axial_blur(IsotropicData(volumes=tmp_path, psf=tmp_path / "psf.tif"))
    rows = np.arange(len(blur)) - len(blur) // 2
    assert blur.sum() == pytest.approx(1.0, abs=1e-5)
    assert (blur.sum(axis=1) * rows).sum() == pytest.approx(0.0, abs=0.1)
