"""Networks that are being written, and what a killed process left of them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from care_live.model.file import replaced
from care_live.model.unfinished import fresh_of, sweep

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say whether a process lives")
WRITES = """
import pathlib, sys
from care_live.model.file import replaced
with replaced(pathlib.Path(sys.argv[1])) as fresh, replaced(fresh) as carded:
    fresh.write_bytes(b"half")
    carded.write_bytes(b"half")
    print(fresh.name, carded.name, flush=True)
    sys.stdin.read()
"""


@contextmanager
def at_work(path: Path) -> Iterator[tuple[subprocess.Popen[str], set[str]]]:
    """Write a network in another process until it is killed; give it with the names of its files."""
    command = [sys.executable, "-c", WRITES, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, set(process.stdout.readline().split())
        finally:
            process.kill()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_next_one_in_a_folder_removes_what_a_killed_process_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".mine.new.onnx").touch()
    with at_work(tmp_path / "one.onnx") as (process, theirs):
        assert len(theirs) == 2
        with replaced(tmp_path / "other.onnx") as fresh:
            fresh.write_bytes(b"whole")
            assert names_in(tmp_path) == {*theirs, fresh.name, ".mine.new.onnx"}
        process.kill()
        process.wait()
        with replaced(tmp_path / "third.onnx") as fresh:
            fresh.write_bytes(b"whole")
    assert names_in(tmp_path) == {".mine.new.onnx", "other.onnx", "third.onnx"}


@pytest.mark.parametrize("is_old", [False, True])
def test_a_file_of_another_machine_stays_and_is_named_once_it_is_old(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_old: bool
) -> None:
    ours = fresh_of(tmp_path / "net.onnx").name
    theirs = tmp_path / ours.replace(ours[-15:], f"{'ffffff' if ours[-15:-9] != 'ffffff' else 'eeeeee'}.new.onnx")
    theirs.touch()
    written_s = time.time() - 2 * 86400 * is_old
    os.utime(theirs, (written_s, written_s))
    with caplog.at_level(logging.WARNING):
        sweep(tmp_path)
    assert theirs.exists()
    assert (theirs.name in caplog.text) == is_old
