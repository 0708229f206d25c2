"""Point spread functions on any grid: normalised, centred, and as wide as they are said to be."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.simulate.psf import GaussianSpot, Measured, kernel

VOXEL_UM = (0.5, 0.1, 0.1)


def moments_um(drawn: np.ndarray, voxel_size_um: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean place and standard deviation along each axis, from the middle voxel."""
    places = [step * (np.arange(n) - n // 2) for n, step in zip(drawn.shape, voxel_size_um, strict=True)]
    profiles = [drawn.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    means = np.array([(profile * at).sum() for profile, at in zip(profiles, places, strict=True)])
    squares = np.array([(profile * at**2).sum() for profile, at in zip(profiles, places, strict=True)])
    return means, np.sqrt(squares - means**2)


def test_a_gaussian_has_its_widths_and_sums_to_one() -> None:
    drawn = kernel(GaussianSpot(axial_fwhm_um=1.6, lateral_fwhm_um=0.35), VOXEL_UM)
    assert drawn.sum() == pytest.approx(1, abs=1e-5)
    assert all(n % 2 for n in drawn.shape)
    means, widths = moments_um(drawn, VOXEL_UM)
    assert means == pytest.approx(0, abs=1e-6)
    assert widths * 2.3548 == pytest.approx([1.6, 0.35, 0.35], rel=0.02)


def test_a_kernel_is_kept_and_read_only() -> None:
    drawn = kernel(GaussianSpot(), VOXEL_UM)
    assert kernel(GaussianSpot(), VOXEL_UM) is drawn
    with pytest.raises(ValueError, match="read-only"):
        drawn[0, 0, 0] = 1


def test_a_measured_one_is_centred_at_its_focus_and_loses_its_background() -> None:
    z, y, x = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in (21, 31, 31)), indexing="ij")
    bead = 7 + 900 * np.exp(-((z - 9.4) ** 2) / 8 - ((y - 15.6) ** 2 + (x - 14.2) ** 2) / 6)
    drawn = kernel(Measured(bead.astype(np.float32), (0.25, 0.1, 0.1)), (0.25, 0.1, 0.1))
    means, widths = moments_um(drawn, (0.25, 0.1, 0.1))
    assert means == pytest.approx(0, abs=0.01)
    assert widths == pytest.approx([0.5, 0.1 * np.sqrt(3), 0.1 * np.sqrt(3)], rel=0.05)
    assert drawn.sum() == pytest.approx(1, abs=1e-5)
