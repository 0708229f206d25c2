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
    camera_file.write(tmp_path / "a.camera", CameraModel(2.17, 100.0, 1.6, "20 dark frames", pattern, 0.2))
    back = camera_file.read(tmp_path / "a.camera")
    assert (back.gain, back.offset, back.read_noise, back.pattern_sd) == (2.17, 100.0, 1.6, 0.2)
    assert back.pattern is not None
    assert (back.pattern == pattern).all()
    assert "a.camera" in back.origin
    assert back.pattern_for((6, 9)) is None


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
