"""The napari plugin: its manifest, what is prepared for it, and a real window under a virtual display."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import care_live.viewer.napari as plugin
from care_live.viewer.auto_contrast import measure
from care_live.viewer.napari.preparer import Preparer
from care_live.viewer.uncertainty import relative
from tests.make.scenes import filled, scene
from tests.make.waiting import until

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


def test_only_the_newest_is_kept_and_one_call_is_pending():
    library, calls, ready = filled(), [], threading.Event()
    preparer = Preparer(library, lambda: (calls.append(1), ready.set()))
    try:
        library.cache.put(scene(0))
        assert ready.wait(60)
        for t in range(1, 6):
            library.cache.put(scene(t))
        until(lambda: preparer.waiting.volumes[0].key.t == 5)
        prepared = preparer.take()
        assert len(calls) == 1 and prepared.volumes[0].key.t == 5
        assert [drawing.what for drawing in prepared.drawings] == ["raw", "mean", "laplace_scale"]
        assert preparer.take() is None
        preparer.want(2)
        until(lambda: preparer.waiting is not None)
        assert preparer.take().volumes[0].key.t == 2
    finally:
        preparer.close()


def test_relative_uncertainty_is_nothing_in_the_background_and_one_where_the_interval_is_the_signal():
    mean = np.full((1, 8, 64), 100, np.float32)
    mean[0, :, 32:] = 1100
    window = measure(mean)
    scale = np.full_like(mean, 1000)
    share = relative(mean, scale, window, 1.0)
    assert (share[0, :, :32] == 0).all()
    assert share[0, :, 32:] == pytest.approx(1000 / 1050, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("scene_name", ["follows", "keys"])
def test_a_real_window(tmp_path, scene_name):
    """Shows, follows and scrubs; and a daemon that asks for keys is watched by dialog and by command."""
    pytest.importorskip("napari")
    display = shutil.which("xvfb-run")
    if display is None:
        message = "xvfb-run is not on this machine (Debian: xvfb, xauth)"
        if os.environ.get("CARE_LIVE_REQUIRE_DATA"):
            pytest.fail(message)
        pytest.skip(message)
    environment = os.environ | {"LIBGL_ALWAYS_SOFTWARE": "1", "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(ROOT)}
    environment |= {"NAPARI_CONFIG": str(tmp_path / "napari.yaml"), "OMP_NUM_THREADS": "1"}
    python = [sys.executable, "-m", "tests.viewer.napari_scene", scene_name, str(tmp_path)]
    command = [display, "-a", "-s", "-screen 0 1400x900x24", *python]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0 and "all is well" in done.stdout, done.stdout[-2000:] + done.stderr[-4000:]
    if scene_name == "follows":
        assert (tmp_path / "napari.png").stat().st_size > 10_000
