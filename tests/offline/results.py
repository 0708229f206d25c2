"""Results of an archive: as bytes that may be compared, without times, and interrupted on their way."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest

import care_live
from care_live.store import RunWriter

SETTINGS = {"provider": "cpu", "threads": 1, "progress": False}
N_TIMES = {"a/one": 3, "a/two": 2, "three": 2}
"""Data sets of the archive, and their time points."""
_OWN = {"journal.jsonl", "writer.lock"}


def files(folder: Path) -> dict[str, bytes]:
    """Return every file of a result but its journal and its lock; metadata without the time at which it began."""
    return {
        path.relative_to(folder).as_posix(): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in _OWN
    }


def cut_off_the_end(run: Path) -> None:
    """Leave a journal as a kill does that comes behind the last time point."""
    journal = run / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    n_end = sum(b'"kind":"run-ended"' in line for line in lines)
    assert n_end
    assert all(b'"kind":"run-ended"' in line for line in lines[-n_end:])
    journal.write_bytes(b"".join(lines[:-n_end]))


def n_acknowledged(output: Path) -> int:
    """Count the restored volumes in the journals of a result that another process writes: its folders come and go."""
    n_found = 0
    for folder, _, names in os.walk(output):
        if "journal.jsonl" in names:
            with contextlib.suppress(FileNotFoundError):  # its folder has gone since it was listed
                n_found += Path(folder, "journal.jsonl").read_bytes().count(b'"kind":"restored"')
    return n_found


def _content(path: Path) -> bytes:
    if path.name != "zarr.json":
        return path.read_bytes()
    tree = json.loads(path.read_bytes())
    tree.get("attributes", {}).get("care_live", {}).pop("began_us", None)
    return json.dumps(tree, sort_keys=True).encode()


def interrupt_after(n_calls: int, monkeypatch: pytest.MonkeyPatch, *arguments: Path, **settings: object) -> None:
    """Begin a restoration that a person interrupts."""
    write, left = RunWriter.write_restored, iter(range(n_calls))

    def interrupted(self: RunWriter, *args: object, **kwargs: object) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        write(self, *args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "write_restored", interrupted)
        with pytest.raises(KeyboardInterrupt):
            care_live.restore(*arguments, **settings)  # type: ignore[arg-type]
