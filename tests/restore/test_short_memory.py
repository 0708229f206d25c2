"""Memory that runs out at any allocation: the volume is restored all the same, or refused in our words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.make.networks import save_network

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # all cases run with the first test
    pytest.mark.skipif(
        sys.platform != "linux" or shutil.which("gcc") is None, reason="needs gcc and a Linux that preloads libraries"
    ),
]


CASES = {
    "two views": ("off", 2),
    "one, whole": ("off", 1),
    "one, streamed": ("on", 1),
    "for good, whole": ("off", -1),
    "for good, streamed": ("on", -1),
}
"""Whether the volume is streamed, and how many allocations fail; below 0: all from there on."""


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that lets chosen allocations fail."""
    built = tmp_path_factory.mktemp("preload") / "failing_malloc.so"
    source = Path(__file__).with_name("failing_malloc.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", built, source], check=True)
    return built


@pytest.fixture(scope="module")
def found(failing: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    """How often each outcome was seen in each case; each takes one processor, so two run at once."""
    folder = tmp_path_factory.mktemp("networks")
    one = save_network(folder / "net.onnx")
    two = save_network(folder / "views.onnx", ndim=2, task="isotropic", factor=2.0)
    with ThreadPoolExecutor(2) as pool:
        running = {
            name: pool.submit(outcomes, failing, two if name == "two views" else one, *how)
            for name, how in CASES.items()
        }
        return {name: case.result() for name, case in running.items()}


def outcomes(failing: Path, network: Path, streaming: str, n: int) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.restore.short_of_memory", str(network), streaming, str(n)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"LD_PRELOAD": str(failing), "OPENBLAS_NUM_THREADS": "1"},  # as inference has it
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen: dict[str, int] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("case", ["one, whole", "one, streamed"])
def test_one_allocation_that_fails_anywhere_costs_nothing(found: dict[str, dict[str, int]], case: str) -> None:
    assert set(found[case]) == {"equal, then equal"}
    assert found[case]["equal, then equal"] > 10


@pytest.mark.parametrize("case", ["for good, whole", "for good, streamed"])
def test_memory_that_stays_away_is_an_error_of_ours_and_no_more(found: dict[str, dict[str, int]], case: str) -> None:
    assert set(found[case]) <= {"equal, then equal", "refused, then equal"}
    assert found[case]["refused, then equal"] > 10


def test_two_views_of_a_volume_survive_it_too(found: dict[str, dict[str, int]]) -> None:
    assert set(found["two views"]) == {"equal, then equal"}
