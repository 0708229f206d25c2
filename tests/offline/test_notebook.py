"""The API in a real Jupyter kernel: a bar while it restores, tables of what came out."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from care_live.config import StoreConfig
from care_live.images import RunStarted, VolumeKey
from care_live.store import open_run
from tests.make.networks import save_network
from tests.make.stored import make_plan, make_restored, make_volume
from tests.source.java_program import display

CELLS = """
import numpy as np
import care_live

network = care_live.open_network("net.onnx", provider="cpu", threads=1)
stack = np.random.default_rng(1).poisson(200, (3, 16, 18)).astype(np.uint16)
result = network.restore(stack)
display(network, result)
"""

VIEWER_CELLS = """
import ndv
from care_live.viewer import ndv_data

viewer = ndv.imshow(ndv_data.of_run("run"))
print(type(viewer.widget()).__name__)
"""


@pytest.mark.slow
def test_a_notebook_shows_a_bar_and_tables(tmp_path: Path) -> None:
    save_network(tmp_path / "net.onnx", filters=2)
    pages = [data["text/html"] for data in shown_by(CELLS, tmp_path) if "text/html" in data]
    assert any("restoring" in page for page in pages)
    assert sum(page.startswith("<table>") and "net (" in page for page in pages) == 2


@pytest.mark.slow
def test_a_notebook_shows_a_run_in_ndv(tmp_path: Path) -> None:
    for package in ("ndv", "ipywidgets", "jupyter_rfb", "vispy"):
        if find_spec(package) is None:
            pytest.skip(f"no {package} here: pip install 'ndv[jupyter,vispy]'")
    with contextlib.closing(open_run(StoreConfig(directory=tmp_path), RunStarted("run", make_plan()))) as writer:
        writer.write_raw(make_volume(VolumeKey(0)))
        writer.write_restored(make_restored(make_volume(VolumeKey(0))))
    with display_here() as environment:
        shown = shown_by(VIEWER_CELLS, tmp_path, environment)
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_a_notebook_without_a_display_says_so(tmp_path: Path) -> None:
    pytest.importorskip("ndv", reason="no ndv here: pip install 'care-live[ndv]'")
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    cells = """
from care_live.errors import ConfigError
from care_live.viewer import ndv_data

for open_data in (ndv_data.of_run, ndv_data.of_daemon):
    try:
        open_data("none")
    except ConfigError as error:
        print(error)
"""
    texts = "".join(str(data) for data in shown_by(cells, tmp_path, environment))
    assert texts.count("xvfb-run") == 2 or find_spec("pygfx") is not None


@contextlib.contextmanager
def display_here() -> Iterator[dict[str, str]]:
    """Give the environment of a program with a display, which is made where there is none."""
    if sys.platform != "linux" or "DISPLAY" in os.environ:
        yield dict(os.environ)
        return
    if shutil.which("Xvfb") is None:
        pytest.skip("no display, and no Xvfb on this machine (Debian: xvfb)")
    with display() as name:
        yield os.environ | {"DISPLAY": name}


def shown_by(cells: str, folder: Path, environment: Mapping[str, str] = os.environ) -> list[dict[str, str]]:
    """Run code in a Jupyter kernel; return what its cell shows, by type, and what it prints."""
    jupyter = pytest.importorskip("jupyter_client.manager", reason="no Jupyter here: pip install ipykernel")
    pytest.importorskip("ipykernel", reason="no Jupyter kernel here: pip install ipykernel")
    own = {name: str(folder / name.lower()) for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}  # not the home folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", own["JUPYTER_RUNTIME_DIR"])
        manager, client = jupyter.start_new_kernel(
            kernel_name="python3", startup_timeout=120, cwd=str(folder), env=dict(environment) | own
        )
    shown: list[dict[str, str]] = []

    def take(message: dict[str, dict[str, dict[str, str]]]) -> None:
        shown.append(message["content"].get("data", {"text": message["content"].get("text", "")}))

    try:
        reply = client.execute_interactive(cells, output_hook=take, timeout=120)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["content"]["status"] == "ok", reply["content"]
    return shown
