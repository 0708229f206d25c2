"""The napari plugin: its manifest, what is prepared for it, and a real window under a virtual display."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import care_live.viewer.napari as plugin

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_manifest_names_things_that_exist():
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(Path(plugin.__file__).with_name("napari.yaml"))
    (widget,) = manifest.contributions.widgets
    (command,) = manifest.contributions.commands
    assert widget.command == command.id
    module, name = command.python_name.split(":")
    file = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    assert f"class {name}(" in file.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("scene_name", ["follows", "keys", "past"])
def test_a_real_window(tmp_path, scene_name):
    """Shows, follows and scrubs; a daemon that asks for keys is watched by dialog and by command; marks of the past."""
    pytest.importorskip("napari")
    display = shutil.which("xvfb-run")
    if display is None:
        message = "xvfb-run is not on this machine (Debian: xvfb, xauth)"
        if os.environ.get("CARE_LIVE_REQUIRE_DATA"):
            pytest.fail(message)
        pytest.skip(message)
    environment = os.environ | {"LIBGL_ALWAYS_SOFTWARE": "1", "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(ROOT)}
    environment |= {"NAPARI_CONFIG": str(tmp_path / "napari.yaml"), "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    python = [sys.executable, "-m", "tests.viewer.napari_scene", scene_name, str(tmp_path)]
    command = [display, "-a", "-s", "-screen 0 1400x900x24", *python]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0 and "all is well" in done.stdout, done.stdout[-2000:] + done.stderr[-4000:]
    if scene_name == "follows":
        assert (tmp_path / "napari.png").stat().st_size > 10_000
