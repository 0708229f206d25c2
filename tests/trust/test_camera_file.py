"""A camera file comes back as it was written; anything else is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from care_live.errors import ConfigError
from care_live.trust import camera_file
from care_live.trust.camera import CameraModel


def test_a_camera_comes_back(tmp_path: Path) -> None:
    pattern = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    noise = np.random.default_rng(1).gamma(4, 4, (6, 8)).astype(np.float32)
    camera_file.write(tmp_path / "a.camera", CameraModel(2.17, 100.0, 1.6, "20 dark frames", pattern, 0.2, noise))
    back = camera_file.read(tmp_path / "a.camera")
    assert (back.gain, back.offset, back.read_noise, back.pattern_sd) == (2.17, 100.0, 1.6, 0.2)
    assert back.pattern is not None
    assert (back.pattern == pattern).all()
    assert "a.camera" in back.origin
    assert back.dark_noise is not None
    assert (back.dark_noise == noise).all()


def test_a_region_of_another_size_has_a_pattern_that_is_not_known() -> None:
    pattern = np.random.default_rng(0).normal(0, 1.5, size=(60, 80)).astype(np.float32)
    camera = CameraModel(2.17, 100.0, 1.6, "frames", pattern, 0.2, np.full((60, 80), 15, np.float32))
    assert camera.fitted((60, 80)) is camera
    region = camera.fitted((30, 40))
    assert (region.pattern, region.dark_noise) == (None, None)
    assert region.pattern_sd == pytest.approx(1.5, rel=0.1)


def test_a_file_of_an_older_version_has_no_noise_of_each_pixel(tmp_path: Path) -> None:
    figures, pattern = np.array([2.17, 100.0, 1.6, 0.2]), np.zeros((4, 4), np.float32)
    np.savez(tmp_path / "old.npz", format="care-live-camera-1", figures=figures, pattern=pattern, origin="frames")
    assert camera_file.read(tmp_path / "old.npz").dark_noise is None


def test_a_camera_without_a_pattern_comes_back(tmp_path: Path) -> None:
    camera_file.write(tmp_path / "a.camera", CameraModel(0.5, 90.0, 0.0, "a run"))
    assert camera_file.read(tmp_path / "a.camera").pattern is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"text"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ConfigError, match="no camera file"):
        camera_file.read(tmp_path / "x")


def test_impossible_figures_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        camera_file.read(tmp_path / "missing")
    camera_file.write(tmp_path / "a", CameraModel(-1.0, 0.0, 1.0, "nonsense"))
    with pytest.raises(ConfigError, match="no camera has these"):
        camera_file.read(tmp_path / "a")
