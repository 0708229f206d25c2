"""The API in a real Jupyter kernel: a bar while it restores, tables of what came out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.make.networks import save_network

CELLS = """
import numpy as np
import care_live

network = care_live.open_network("net.onnx", provider="cpu", threads=1)
stack = np.random.default_rng(1).poisson(200, (3, 16, 18)).astype(np.uint16)
result = network.restore(stack)
display(network, result)
"""


@pytest.mark.slow
def test_a_notebook_shows_a_bar_and_tables(tmp_path: Path) -> None:
    jupyter = pytest.importorskip("jupyter_client.manager", reason="no Jupyter here: pip install ipykernel")
    pytest.importorskip("ipykernel", reason="no Jupyter kernel here: pip install ipykernel")
    save_network(tmp_path / "net.onnx", filters=2)
    manager, client = jupyter.start_new_kernel(kernel_name="python3", startup_timeout=120, cwd=str(tmp_path))
    shown: list[dict[str, str]] = []

    def take(message: dict[str, dict[str, dict[str, str]]]) -> None:
        shown.append(message["content"].get("data", {}))

    try:
        reply = client.execute_interactive(CELLS, output_hook=take, timeout=120)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["content"]["status"] == "ok", reply["content"]
    pages = [data["text/html"] for data in shown if "text/html" in data]
    assert any("restoring" in page for page in pages)
    assert sum(page.startswith("<table>") and "net (" in page for page in pages) == 2
