"""A worker's folder goes with it; that of one that was killed goes with the next."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from care_live.worker.worker_folder import prefix_here, remove_forsaken, worker_folder

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
        assert folder.name.startswith(prefix_here()) and list(temporary.iterdir()) == [folder]
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
    (temporary / f"{prefix_here()}link").symlink_to(temporary / "mine")
    remove_forsaken(temporary)
    assert (temporary / "mine" / "thesis").exists()


def test_folders_of_other_machines_and_of_earlier_versions_stay(temporary: Path) -> None:
    """Their workers may live: a disk of several machines may have locks on each alone, and older ones held none."""
    names = ("care-live-worker-abcd", "care-live-on-another_machine-abcd", f"{prefix_here()}2-abcd")
    for name in names:
        (temporary / name).mkdir()
    with worker_folder() as own:
        assert sorted(temporary.iterdir()) == sorted([own, *(temporary / name for name in names)])


@pytest.mark.skipif(sys.platform == "win32", reason="a folder that is not held yet stays for a day")
def test_what_a_worker_left_that_was_killed_before_it_held_its_folder_is_removed(temporary: Path) -> None:
    (temporary / f"{prefix_here()}abcd").mkdir()
    with worker_folder() as own:
        assert list(temporary.iterdir()) == [own]


@pytest.mark.skipif(sys.platform == "win32", reason="a folder that is not held yet stays for a day")
def test_a_folder_that_another_worker_removes_before_it_is_held_is_made_anew(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = tempfile.mkdtemp, []

    def removed_at_first(prefix: str) -> str:
        made.append(make(prefix=prefix))
        if len(made) == 1:
            remove_forsaken(temporary)
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", removed_at_first)
    with worker_folder() as own:
        assert [str(own)] == made[1:]
        assert list(temporary.iterdir()) == [own]
