"""The n-th call to the operating system fails, for every n: what was acknowledged stays, and the run can go on."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from care_live.errors import StoreError
from care_live.images import RunEnded, VolumeKey
from care_live.store import RunReader, verify
from tests.make.stored import make_pixels, make_plan, make_restored, make_volume, only_mean, open_writer

SHAPE = (1, 6, 6)
PLAN = make_plan(n_t=2, shape=SHAPE)
CALLS = ("open", "write", "fsync", "ftruncate", "lseek", "replace", "rename", "mkdir", "unlink", "stat", "scandir")


class FailingCalls:
    """Counts calls that concern a folder, or an open descriptor, and lets one fail, or all from there on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.n, self.fails_at, self.number, self.lasts = 0, 0, errno.EIO, False
        self._folder = str(folder)
        for name in CALLS:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        monkeypatch.setattr(io, "open", self._counted(io.open))  # what pathlib opens

    def begin(self, fails_at: int, number: int, *, lasts: bool) -> None:
        self.n, self.fails_at, self.number, self.lasts = 0, fails_at, number, lasts

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(what: Any, *rest: Any, **named: Any) -> Any:
            if self.fails_at and (isinstance(what, int) or self._folder in str(what)):
                self.n += 1
                if self.n == self.fails_at or (self.lasts and self.n > self.fails_at):
                    raise OSError(self.number, os.strerror(self.number), None if isinstance(what, int) else str(what))
            return call(what, *rest, **named)

        return counted


def write(runs: Path) -> tuple[list[VolumeKey], list[StoreError]]:
    """Write a run of two volumes; return what was acknowledged, and what was raised."""
    acknowledged: list[VolumeKey] = []
    raised: list[StoreError] = []

    def tried(step: Callable[[], object]) -> bool:
        try:
            step()
        except StoreError as error:
            raised.append(error)
            return False
        return True

    try:
        writer = open_writer(runs, PLAN)
    except StoreError as error:
        return [], [error]
    for t in range(2):
        volume = make_volume(VolumeKey(t), SHAPE)
        if any(tried(lambda volume=volume: writer.write_raw(volume)) for _ in range(2)):  # the daemon tries again
            acknowledged.append(volume.key)
            only = only_mean(make_restored(volume))
            tried(lambda only=only: writer.write_restored(only))
    tried(lambda: writer.note(RunEnded("aborted")))
    tried(writer.close)
    return acknowledged, raised


def check(runs: Path, acknowledged: list[VolumeKey]) -> None:
    """What was acknowledged can be read as the fault left it, and when the run has gone on."""
    if acknowledged:
        assert not {"checksum", "missing", "size"} & {problem.kind for problem in verify(runs / "run").problems}
    writer = open_writer(runs, PLAN)
    assert set(writer.raw_keys()) >= set(acknowledged)
    for t in set(range(2)) - {key.t for key in writer.raw_keys()}:
        writer.write_raw(make_volume(VolumeKey(t), SHAPE))
    writer.close()
    assert verify(runs / "run").problems == ()
    reader = RunReader(runs / "run")
    for key in reader.keys("raw"):
        np.testing.assert_array_equal(reader.read("raw", key), make_pixels(key, SHAPE))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("lasts", [False, True], ids=["once", "from then on"])
def test_every_call_that_fails_costs_nothing_that_was_acknowledged(tmp_path, monkeypatch, number, lasts):
    calls = FailingCalls(monkeypatch, tmp_path)
    write(tmp_path / "warm")
    calls.begin(10**9, number, lasts=False)
    assert write(tmp_path / "sound") == ([VolumeKey(0), VolumeKey(1)], [])
    n_calls = calls.n
    assert n_calls > 100
    n_raised = 0
    step = 4 if lasts else 2
    for n in range(1 + (number == errno.EIO), n_calls + 1, step):  # every call fails in one of the two
        calls.begin(n, number, lasts=lasts)
        acknowledged, raised = write(tmp_path / str(n))
        calls.begin(0, 0, lasts=False)
        check(tmp_path / str(n), acknowledged)
        n_raised += bool(raised)
    assert n_raised > n_calls // step // 2
