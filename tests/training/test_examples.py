"""Examples are drawn from volumes that are large enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from care_live.errors import TrainingError
from care_live.training.data.examples import Data, RepeatedVolume
from care_live.training.data.intensity import SpanTable
from care_live.training.fit import fit
from care_live.trust.measured_noise import pattern_like
from tests.training.conftest import small_recipe


def test_a_patch_larger_than_a_volume_names_it(tmp_path: Path, small_data: Data) -> None:
    with pytest.raises(TrainingError, match="blobs-0 is"):
        fit(small_recipe(tmp_path, fit={"patch_px": [4, 64, 64]}), small_data, tmp_path / "run")


def repeated(*images: np.ndarray, pattern_sd: tuple[float, ...] = (), is_exchanged: bool = False) -> RepeatedVolume:
    spans = [SpanTable.measure(image) for image in images]
    nowhere = np.empty((0, images[0].ndim - 1), int)
    return RepeatedVolume("v", "v", images, spans, nowhere, pattern_sd=pattern_sd, is_exchanged=is_exchanged)


def whole(volume: RepeatedVolume, seed: int | None = 0) -> tuple[np.ndarray, np.ndarray]:
    """Input and target, all of them, in counts less their mean."""
    rng = None if seed is None else np.random.default_rng(seed)
    patch = volume.cut((0,) * len(volume.shape_px), volume.shape_px, rng)
    return patch.input - patch.input.mean(), patch.target - patch.target.mean()


def test_the_exposures_of_each_pixel_change_places_where_they_are_exchanged() -> None:
    first, second = np.random.default_rng(1).random((2, 1, 8, 64, 64), np.float32)
    shown, other = whole(repeated(first, second, is_exchanged=True))
    assert np.corrcoef((shown + other).ravel(), (first + second).ravel())[0, 1] == pytest.approx(1, abs=1e-5)
    is_turned = (shown > other) != (first > second)
    assert 0.4 < is_turned.mean() < 0.6
    recorded = whole(repeated(first, second), seed=None)
    kept = np.corrcoef(*(image.ravel() for image in recorded))[0, 1]
    assert kept == pytest.approx(
        np.corrcoef(first.ravel(), second.ravel())[0, 1], abs=1e-5
    )  # validation is as recorded


def test_exposures_share_no_pattern_of_the_camera() -> None:
    shape, drawn = (1, 8, 96, 96), np.random.default_rng(0)
    pattern = pattern_like(shape, 4.0, drawn)
    images = [(100 + pattern + drawn.normal(0, 8, shape)).astype(np.float32) for _ in range(2)]
    for seed in (0, None):
        kept, other = (image.mean(axis=1) for image in whole(repeated(*images), seed))
        assert np.corrcoef(kept.ravel(), other.ravel())[0, 1] > 0.5
        kept, other = (image.mean(axis=1) for image in whole(repeated(*images, pattern_sd=(4.0,)), seed))
        assert abs(np.corrcoef(kept.ravel(), other.ravel())[0, 1]) < 0.1
