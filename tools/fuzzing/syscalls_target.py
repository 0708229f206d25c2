"""The n-th system call fails with EIO, ENOSPC or EROFS while a run is written, once or from then on."""

from __future__ import annotations

import errno
import json
import os
import random
import traceback
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from care_live.errors import StoreError
from care_live.images import RunEnded, VolumeKey
from care_live.store import RunReader, verify
from fuzzing import syscalls
from fuzzing.damage import Case, Files
from fuzzing.syscalls import Fault
from fuzzing.target import Target, WrongError
from tests.make.stored import make_pixels, make_plan, make_restored, make_volume, open_writer

_PLAN = make_plan(n_t=3)
_KEYS = [VolumeKey(t) for t in range(3)]
_ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS)
_OF_STORED = {"checksum", "missing", "size"}
"""Problems of what the journal acknowledges; leftovers of what it does not are no fault."""


class FailingCalls:
    """Laws: nothing but `StoreError` comes out, what was acknowledged can be read, and the run can go on."""

    def __init__(self) -> None:
        self._n_calls = 1

    def originals(self, folder: Path) -> Sequence[Files]:
        if not syscalls.is_possible():
            return []
        _write(folder / "warm-up", folder / "report")  # loads all that is loaded late
        self._n_calls = syscalls.run(lambda: _write(folder / "runs", folder / "report"), Fault(0, 0), folder / "runs")
        return [_described(Fault(0, 0))]

    def damaged(self, sound: Files, chance: random.Random) -> Case:
        fault = Fault(chance.randint(1, self._n_calls), chance.choice(_ERRORS), chance.random() < 0.3)
        return Case(sound, _described(fault), "fault")

    def read(self, case: Case, folder: Path) -> None:
        fault = Fault(**json.loads(case.files["fault"]))
        report, runs = folder / "report", folder / "runs"
        syscalls.run(lambda: _write(runs, report), fault, runs)
        acknowledged, errors = _reported(report)
        if foreign := [error for error in errors if not error.startswith("StoreError")]:
            raise RuntimeError(foreign[0])
        _check_acknowledged(runs, acknowledged)
        _check_going_on(runs, acknowledged)
        if errors:
            raise StoreError(errors[0])


def _described(fault: Fault) -> Files:
    return {"fault": json.dumps({"n": fault.n, "errno": fault.errno, "lasting": fault.lasting}).encode()}


def _write(runs: Path, report: Path) -> None:
    """Write a small run as the daemon does; what fails is tried again later or left out, and reported."""
    with report.open("w", encoding="utf-8") as file:
        file.write("began\n")
        file.flush()
        try:
            runs.parent.mkdir(parents=True, exist_ok=True)
            writer = open_writer(runs, _PLAN)
        except Exception as error:  # noqa: BLE001 - which exceptions come is the question
            file.write(f"{_told(error)}\n")
            return
        for key in _KEYS:
            if _did(lambda key=key: writer.write_raw(make_volume(key)), file):
                file.write(f"raw {key.t}\n")
            _did(lambda key=key: writer.write_restored(make_restored(make_volume(key))), file)
        _did(lambda: writer.note(RunEnded("aborted")), file)
        _did(writer.close, file)


def _did(step, file) -> bool:
    """Take one step; report an error, and return whether there was none."""
    try:
        step()
    except Exception as error:  # noqa: BLE001 - which exceptions come is the question
        file.write(f"{_told(error)}\n")
        return False
    return True


def _told(error: Exception) -> str:
    """Return our own error by name, another one as its traceback in a single line."""
    if isinstance(error, StoreError):
        return f"StoreError {error}"
    return "|".join("".join(traceback.format_exception(error)).splitlines())


def _reported(report: Path) -> tuple[list[VolumeKey], list[str]]:
    """Return what was acknowledged, and the errors."""
    lines = report.read_text(encoding="utf-8").splitlines()
    if lines[:1] != ["began"]:
        raise WrongError("the writer died")
    acknowledged = [VolumeKey(int(line.split()[1])) for line in lines if line.startswith("raw ")]
    return acknowledged, [line.replace("|", os.linesep) for line in lines[1:] if not line.startswith("raw ")]


def _check_acknowledged(runs: Path, keys: list[VolumeKey]) -> None:
    """Look at the run as the fault left it: all that was acknowledged is there, and sound."""
    if not keys:
        return
    reader = RunReader(runs / "run")
    for key in keys:
        if not np.array_equal(reader.read("raw", key), make_pixels(key)):
            raise WrongError(f"raw volume {tuple(key)} was acknowledged, and is not what was stored")
    for problem in verify(runs / "run").problems:
        if problem.kind in _OF_STORED:
            raise WrongError(f"{problem.kind} {problem.where}: {problem.detail}")


def _check_going_on(runs: Path, keys: list[VolumeKey]) -> None:
    """Go on with the run on a disk that works again, as a daemon does: what is missing is stored and restored."""
    writer = open_writer(runs, _PLAN)
    try:
        if lost := set(keys) - set(writer.raw_keys()):
            raise WrongError(f"{len(lost)} volumes that were acknowledged are gone when the run goes on")
        for key in _KEYS:
            if key not in writer.raw_keys():
                writer.write_raw(make_volume(key))
        for key in writer.raw_only():
            writer.write_restored(make_restored(RunReader(writer.path).read_raw(key)))
    finally:
        writer.close()
    if problems := verify(runs / "run").problems:
        raise WrongError(f"the run that went on has problems: {problems[0]}")


def target() -> Target:
    return FailingCalls()
