"""Forms of every kind: unlike each other, blurred and textured as promised."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.simulate.forms import Canvas, blurred, draw_forms

SHAPE = (8, 48, 40)


def test_volumes_cover_sparse_and_dense_smooth_and_rough() -> None:
    volumes = [draw_forms(seed, SHAPE) for seed in range(24)]
    filled = [float((volume > 0.25).mean()) for volume in volumes]
    rough = [float(np.abs(np.diff(volume, axis=2)).mean() / volume.std()) for volume in volumes]
    assert min(filled) < 0.05
    assert max(filled) > 0.3
    assert max(rough) > 3 * min(rough)


def test_blur_is_a_gaussian_on_a_torus() -> None:
    point = np.zeros((16, 32, 32), np.float32)
    point[0, 16, 16] = 1
    seen = blurred(point, (1.0, 2.0, 2.0))
    assert seen.sum() == pytest.approx(1, rel=1e-5)
    assert seen[1, 16, 16] == pytest.approx(seen[-1, 16, 16], rel=1e-3)
    along = seen.sum(axis=(0, 1))
    variance = float((along * (np.arange(32) - 16) ** 2).sum())
    assert variance == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize("slope", [1.0, 2.5, 4.0])
def test_the_power_of_a_texture_falls_with_frequency_to_its_slope(slope: float) -> None:
    canvas = Canvas(np.random.default_rng(5), (32, 64, 64), flatness=1.0)
    power = np.abs(np.fft.fftn(canvas.texture(40.0, slope))) ** 2
    waves = [np.fft.fftfreq(size) for size in power.shape]
    frequency = np.sqrt(sum(np.square(axis) for axis in np.meshgrid(*waves, indexing="ij")))
    fine = frequency > 0.1  # four waves in 40 pixels
    falls, _ = np.polyfit(np.log(frequency[fine]), np.log(power[fine]), 1)
    assert falls == pytest.approx(-slope, abs=0.2)


@pytest.mark.parametrize("flatness", [0.4, 1.0, 4.0])
def test_planes_are_the_more_alike_the_denser_they_are(flatness: float) -> None:
    canvas = Canvas(np.random.default_rng(6), (32, 64, 64), flatness=flatness)
    field = canvas.field(5.0)
    apart = [float(np.square(np.diff(field, axis=axis)).mean()) for axis in (0, 2)]
    sigma_px = 0.39 * 5.0
    wanted = [2 - 2 * np.exp(-((step / sigma_px) ** 2) / 4) for step in (flatness, 1.0)]
    assert apart == pytest.approx(wanted, rel=0.25)


def test_a_known_voxel_size_fixes_how_alike_planes_are() -> None:
    def likeness(voxel_size_um: tuple[float, float, float]) -> float:
        volumes = [draw_forms(seed, SHAPE, voxel_size_um) for seed in range(6)]
        return float(np.mean([np.corrcoef(v[3].ravel(), v[4].ravel())[0, 1] for v in volumes]))

    assert likeness((0.2, 0.5, 0.5)) > likeness((2.0, 0.5, 0.5)) + 0.1
