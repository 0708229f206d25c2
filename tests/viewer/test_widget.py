"""The napari plugin: its manifest, what is prepared for it, and a real window under a virtual display."""

from __future__ import annotations

from pathlib import Path

import pytest

import care_live.viewer.napari as plugin
from tests.viewer.real_window import ROOT, play


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
    """Shows, follows and scrubs; a daemon that asks for keys is watched by the dialog; marks of the past."""
    play(scene_name, tmp_path)
    if scene_name == "follows":
        assert (tmp_path / "napari.png").stat().st_size > 10_000
