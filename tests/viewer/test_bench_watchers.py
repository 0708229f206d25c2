"""The bench of a full house gives its figures also when nothing could be measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WANTED = {
    "acquisition_p99_ratio",
    "raw_lost",
    "slow_viewer_age_ratio",
    "memory_volumes_per_viewer",
    "browser_latency_ms_p95",
}


@pytest.mark.slow
def test_a_daemon_that_does_not_start_is_said_and_the_figures_are_null(tmp_path: Path) -> None:
    model = tmp_path / "broken.onnx"
    model.write_bytes(b"no network")
    command = [
        sys.executable,
        "tools/bench.py",
        "watchers",
        "--model",
        str(model),
        "--json",
        str(tmp_path / "out.json"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    assert {name: figures[name] for name in WANTED} == dict.fromkeys(WANTED)
    assert figures["pairs"] == 0
    assert "pair 2 of 2 failed" in done.stderr and "ended with" in done.stderr
