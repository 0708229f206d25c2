"""A worker's folder goes with it; that of one that was killed goes with the next."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from care_live.worker.worker_folder import PREFIX, remove_forsaken, worker_folder

HOLDS = """
from care_live.worker.worker_folder import worker_folder
with worker_folder() as folder:
    (folder / "1.onnx").write_bytes(b"network")
    print(folder, flush=True)
    input()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def worker() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def folder_of(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def test_a_folder_is_there_for_the_life_of_its_worker(temporary: Path) -> None:
    with worker_folder() as folder:
        (folder / "1.onnx").write_bytes(b"network")
        assert folder.name.startswith(PREFIX) and list(temporary.iterdir()) == [folder]
    assert not list(temporary.iterdir())


def test_the_next_worker_removes_what_a_killed_one_left_and_nothing_of_one_that_lives(temporary: Path) -> None:
    with worker() as killed, worker() as living:
        left, kept = folder_of(killed), folder_of(living)
        killed.kill()
        killed.wait()
        assert (left / "1.onnx").exists()
        with worker_folder() as own:
            assert sorted(temporary.iterdir()) == sorted([kept, own])
            assert (kept / "1.onnx").exists()
        living.communicate("\n")
    assert not list(temporary.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows makes links for administrators only")
def test_a_link_is_followed_nowhere(temporary: Path) -> None:
    (temporary / "mine").mkdir()
    (temporary / "mine" / "thesis").write_text("three years")
    (temporary / f"{PREFIX}link").symlink_to(temporary / "mine")
    remove_forsaken(temporary)
    assert (temporary / "mine" / "thesis").exists()
