"""Runs a scene of ``tests.viewer.napari_scene`` in a process of its own, with a window on a virtual display."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def play(scene_name: str, folder: Path) -> None:
    """Run a scene; the test fails with what it said where it does not end well."""
    pytest.importorskip("napari")
    display = shutil.which("xvfb-run")
    if display is None:
        message = "xvfb-run is not on this machine (Debian: xvfb, xauth)"
        if os.environ.get("CARE_LIVE_REQUIRE_DATA"):
            pytest.fail(message)
        pytest.skip(message)
    environment = os.environ | {"LIBGL_ALWAYS_SOFTWARE": "1", "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(ROOT)}
    environment |= {"NAPARI_CONFIG": str(folder / "napari.yaml"), "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    python = [sys.executable, "-m", "tests.viewer.napari_scene", scene_name, str(folder)]
    command = [display, "-a", "-s", "-screen 0 1400x900x24", *python]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0 and "all is well" in done.stdout, done.stdout[-2000:] + done.stderr[-4000:]
