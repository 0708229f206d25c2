"""tools/gpu_check.py runs on the CPU, so that it still runs when a GPU can be had."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "gpu_check.py"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_it_checks_and_measures_on_the_cpu(tmp_path: Path) -> None:
    command = [sys.executable, str(TOOL), "--provider", "cpu", "--small", "--json", str(tmp_path / "gpu.json")]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=170)
    assert run.returncode == 0, run.stderr
    figures = json.loads((tmp_path / "gpu.json").read_text())
    largest = {row["precision"]: row["largest"] for row in figures["correctness"]}
    assert largest["fp32"] < 1e-5
    assert 1e-6 < largest["fp16"] < 2e-2
    timed = {(row["way"], row["members"]) for row in figures["speed"] if "ms" in row}
    assert timed == {(way, members) for way in ("whole", "overlapped", "tiled", "streamed") for members in (1, 2)}
    assert {row["tiles"] for row in figures["speed"] if "tiles" in row} == {4}


@pytest.mark.slow
def test_it_refuses_a_gpu_that_is_not_there() -> None:
    command = [sys.executable, str(TOOL), "--small"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if run.returncode == 0:
        pytest.skip("this machine has a GPU")
    assert "cuda provider" in run.stderr
    assert run.stderr.count("\n") == 1
