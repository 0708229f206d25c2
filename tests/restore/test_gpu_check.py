"""tools/gpu_check.py runs on the CPU, so that it still runs when a GPU can be had."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "gpu_check.py"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give its rooms, `gpu.parts` and `gpu.carried`."""
    monkeypatch.syspath_prepend(str(TOOL.parent))
    return importlib.import_module("gpu.parts"), importlib.import_module("gpu.carried")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_checks_and_measures_on_the_cpu(tmp_path: Path) -> None:
    command = [sys.executable, str(TOOL), "--provider", "cpu", "--small", "--json", str(tmp_path / "gpu.json")]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=580)
    assert run.returncode == 0, run.stderr
    figures = json.loads((tmp_path / "gpu.json").read_text())
    largest = {(row["precision"], row["way"]): row["largest"] for row in figures["correctness"]}
    assert largest.keys() == {("fp32", way) for way in ("whole", "tiled", "streamed")} | {
        ("fp16", way) for way in ("whole", "tiled")
    }
    assert all(share < 1e-5 for (precision, _), share in largest.items() if precision == "fp32")
    assert all(1e-6 < share < 2e-2 for (precision, _), share in largest.items() if precision == "fp16")
    timed = {(row["way"], row["members"], row["precision"]) for row in figures["speed"] if "ms" in row}
    assert len(timed) == 2 * len(largest)
    assert {(row["option"], row["way"]) for row in figures["copies"]} == {
        ("places", "tiled"),
        ("locked", "whole"),
        ("locked", "tiled"),
        ("locked", "streamed"),
    }
    assert all(row["differs"] == 0 for row in figures["copies"])
    assert {row["way"] for row in figures["quantised"]} == {"whole", "tiled", "streamed"}
    assert all(row["largest"] < 1e-5 for row in figures["quantised"])
    assert figures["libraries"][0]["copies_beside_runs"] is True
    (memory,) = figures["memory"]
    assert memory["largest"] < 1e-5


@pytest.mark.slow
def test_it_refuses_a_gpu_that_is_not_there_and_still_writes_what_it_found(tmp_path: Path) -> None:
    command = [sys.executable, str(TOOL), "--small", "--minutes", "4", "--json", str(tmp_path / "gpu.json")]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=400)
    if run.returncode == 0:
        pytest.skip("this machine has a GPU")
    assert "cuda provider" in run.stderr
    assert run.stderr.count("\n") == 1
    assert "cuda provider" in json.loads((tmp_path / "gpu.json").read_text())["libraries"][0]["refused"]


def fine() -> Iterator[dict[str, int]]:
    yield {"first": 1}
    yield {"second": 2}


def torn() -> Iterator[dict[str, int]]:
    yield {"first": 1}
    raise ValueError("no such kernel")


def killed() -> Iterator[dict[str, int]]:
    yield {"first": 1}
    os._exit(139)


def endless() -> Iterator[dict[str, int]]:
    yield {"first": 1}
    time.sleep(600)


@pytest.mark.parametrize(
    ("measure", "limit_s", "end"),
    [
        (fine, 60.0, {"second": 2}),
        (torn, 60.0, {"refused": "ValueError: no such kernel"}),
        (killed, 60.0, {"refused": "its process ended"}),
        (endless, 20.0, {"refused": "took longer than 20 s"}),  # its process must have begun by then
    ],
    ids=["fine", "torn", "killed", "endless"],
)
@pytest.mark.slow
def test_a_part_that_fails_keeps_its_rows_and_says_how_it_ended(
    gpu: Any, measure: Any, limit_s: float, end: dict[str, object]
) -> None:
    parts, _ = gpu
    rows = list(parts.run(parts.Part("title", {"option": "a"}, measure, ()), limit_s))
    assert rows == [{"option": "a", "first": 1}, {"option": "a"} | end]


def test_carried_wheels_are_unpacked_whole_or_in_pieces(gpu: Any, tmp_path: Path) -> None:
    _, carried = gpu
    for name in ("whole", "cut"):
        with zipfile.ZipFile(tmp_path / f"{name}-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", "here = True\n" + "#" * 1000)
    cut = tmp_path / "cut-1-py3-none-any.whl"
    content = cut.read_bytes()
    for i in range(3):
        cut.with_name(f"{cut.name}.{i:02}").write_bytes(content[500 * i : 500 * (i + 1) if i < 2 else None])
    cut.unlink()
    carried.unpack(tmp_path, tmp_path / "out")
    assert {path.parent.name for path in (tmp_path / "out").glob("*/__init__.py")} == {"whole", "cut"}
