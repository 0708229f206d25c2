"""``care-live camera``: from frames, or from any run, to a file that the daemon takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from care_live.cli import cli
from care_live.errors import ConfigError
from care_live.simulate import noise, sensor
from care_live.trust import camera_file
from tests.trust.photons import worm


def write(path: Path, stack: np.ndarray, axes: str) -> Path:
    tifffile.imwrite(path, stack, metadata={"axes": axes}, imagej=True)
    return path


def test_dark_and_flat_frames_become_a_camera_file(tmp_path: Path) -> None:
    camera, out = sensor((64, 64), 3), tmp_path / "my.camera"
    dark, flat = (
        write(
            tmp_path / f"{name}.tif",
            np.stack(
                [camera.expose(np.full((64, 64), e, np.float32), noise.generator(8, int(e), n)) for n in range(20)]
            ),
            "TYX",
        )
        for name, e in (("dark", 0.0), ("flat", 300.0))
    )
    done = CliRunner().invoke(cli, ["camera", str(out), "--dark", str(dark), "--flat", str(flat)])
    assert done.exit_code == 0, done.output
    found = camera_file.read(out)
    assert found.gain == pytest.approx(2.17, rel=0.05)
    assert found.pattern is not None
    assert found.pattern.shape == (64, 64)


def test_any_data_set_shows_its_camera(tmp_path: Path) -> None:
    stack = write(tmp_path / "worm.tif", worm(11).raw, "ZYX")
    done = CliRunner().invoke(cli, ["camera", str(tmp_path / "c"), "--data", str(stack)])
    assert done.exit_code == 0, done.output
    assert camera_file.read(tmp_path / "c").gain == pytest.approx(2.17, rel=0.25)


def test_what_cannot_show_a_camera_is_refused(tmp_path: Path) -> None:
    grey = write(tmp_path / "grey.tif", np.full((3, 64, 64), 500, np.uint16), "ZYX")
    for arguments, says in (([], "missing"), (["--data", str(grey)], "does not show")):
        done = CliRunner().invoke(cli, ["camera", str(tmp_path / "c"), *arguments])
        assert isinstance(done.exception, ConfigError)
        assert says in str(done.exception)
