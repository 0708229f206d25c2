"""Memory that runs out at any allocation: the volume is restored all the same, or refused in our words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.make.networks import save_network

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or shutil.which("gcc") is None, reason="needs gcc and a Linux that preloads libraries"
    ),
]


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that lets chosen allocations fail."""
    built = tmp_path_factory.mktemp("preload") / "failing_malloc.so"
    source = Path(__file__).with_name("failing_malloc.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", built, source], check=True)
    return built


def outcomes(failing: Path, network: Path, streaming: str, n: int) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.restore.short_of_memory", str(network), streaming, str(n)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"LD_PRELOAD": str(failing), "OPENBLAS_NUM_THREADS": "1"},  # as inference has it
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("streaming", ["off", "on"])
def test_one_allocation_that_fails_anywhere_costs_nothing(failing: Path, tmp_path: Path, streaming: str) -> None:
    found = outcomes(failing, save_network(tmp_path / "net.onnx"), streaming, 1)
    assert set(found) == {"equal, then equal"}
    assert found["equal, then equal"] > 10


@pytest.mark.parametrize("streaming", ["off", "on"])
def test_memory_that_stays_away_is_an_error_of_ours_and_no_more(failing: Path, tmp_path: Path, streaming: str) -> None:
    found = outcomes(failing, save_network(tmp_path / "net.onnx"), streaming, -1)
    assert set(found) <= {"equal, then equal", "refused, then equal"}
    assert found["refused, then equal"] > 10


def test_two_views_of_a_volume_survive_it_too(failing: Path, tmp_path: Path) -> None:
    network = save_network(tmp_path / "net.onnx", ndim=2, task="isotropic", factor=2.0)
    assert set(outcomes(failing, network, "off", 2)) == {"equal, then equal"}
