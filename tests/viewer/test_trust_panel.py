"""The dock's words, places and light over time: real widgets of Qt, without a screen."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.viewer.real_window import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("scene_name", ["bar", "panel", "height"])
def test_widgets_of_the_dock(scene_name: str) -> None:
    """A bar for each time point, which is clicked; the way to the worst place and round again; words are not cut."""
    pytest.importorskip("qtpy")
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.viewer.trust_panel_scene", scene_name]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and "all is well" in done.stdout, done.stdout[-2000:] + done.stderr[-4000:]
