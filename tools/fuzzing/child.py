"""The process that reads damaged inputs: it may crash, hang or eat memory, and its parent sees which."""

from __future__ import annotations

import faulthandler
import importlib
import logging
import random
import re
import resource
import shutil
import signal
import sys
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from fuzzing.damage import Case, Files
from fuzzing.outcome import Outcome, of_error
from fuzzing.target import Target, read_files, write_files

MEMORY_BYTES = 512 * 2**20
"""A reader of an input of a few hundred KiB may grow by less than this."""
_ADDRESS_BYTES = 8 * MEMORY_BYTES
"""Address space that the process may take in addition: this protects the machine, and shows who took it."""
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def serve(module: str, seed: int, folder: Path, connection: Connection) -> None:
    """Read the cases whose numbers come, answer each with its outcome; a path saves the case there instead."""
    _show_where_it_stops(folder / "stopped.txt")
    warnings.simplefilter("ignore")
    logging.disable()  # tifffile writes a line for each tag that it dislikes
    target: Target = importlib.import_module(module).target()
    originals = target.originals(_emptied(folder / "originals"))
    cache = LiveCache(target, originals, module, seed)
    connection.send(len(originals))
    _limit_address_space()
    peak = _peak_bytes()
    while (order := connection.recv()) is not None:
        number, place = order
        if isinstance(place, Path):
            save(cache.case(number), place)
            connection.send(None)
            continue
        outcome = attempt(target, cache.case(number), _emptied(folder / "case"))
        if _peak_bytes() - peak > MEMORY_BYTES and outcome.kind != "wrong":
            outcome = Outcome("memory", f"{outcome.detail}\ngrew by {(_peak_bytes() - peak) >> 20} MiB")
        connection.send(outcome)


def replay(module: str, saved: Path, folder: Path) -> Outcome:
    """Read a saved case once more, in this process."""
    target: Target = importlib.import_module(module).target()
    target.originals(_emptied(folder / "originals"))
    how = (saved / "how.txt").read_text(encoding="utf-8").partition("\n")[0]
    case = Case(read_files(saved / "sound"), read_files(saved / "damaged"), how)
    return attempt(target, case, _emptied(folder / "case"))


class LiveCache:
    """The cases of one seed: number n is always the same, whichever were read before."""

    def __init__(self, target: Target, originals: Sequence[Files], name: str, seed: int) -> None:
        self._target = target
        self._originals = originals
        self._name = f"{name} {seed}"

    def case(self, number: int) -> Case:
        """Return one case; the first ones are the sound inputs themselves, which must be accepted."""
        if number < len(self._originals):
            return Case(self._originals[number], self._originals[number], "sound")
        chance = random.Random(f"{self._name} {number}")
        return self._target.damaged(chance.choice(self._originals), chance)


def attempt(target: Target, case: Case, folder: Path) -> Outcome:
    """Read one case and return how that ended."""
    try:
        target.read(case, folder)
    except Exception as error:  # noqa: BLE001 - which exceptions come is the question
        outcome = of_error(error)
    else:
        outcome = Outcome("accepted")
    if case.how == "sound" and outcome.kind == "refused":
        return Outcome("wrong", "a sound input was refused")
    return outcome


def save(case: Case, place: Path) -> None:
    """Write a case so that `replay` and a person can read it."""
    shutil.rmtree(place, ignore_errors=True)
    write_files(case.sound, place / "sound")
    write_files(case.files, place / "damaged")
    (place / "how.txt").write_text(f"{case.how}\n", encoding="utf-8")


def _show_where_it_stops(path: Path) -> None:
    """Write the Python calls of a crash, or of a hang when the parent asks with a signal, into a file."""
    file = path.open("w")
    faulthandler.enable(file, all_threads=False)
    faulthandler.register(signal.SIGUSR1, file, all_threads=True)


def _limit_address_space() -> None:
    """Ask for it once everything is loaded, so that the limit counts what reading takes."""
    if sys.platform == "linux":
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + _ADDRESS_BYTES,) * 2)


def _peak_bytes() -> int:
    """Return the most memory that this process has held; on Linux `ru_maxrss` begins with that of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="ascii"))
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
