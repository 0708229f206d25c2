"""The parent: gives numbers to a child, waits for each outcome with a deadline, keeps what failed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing import child
from fuzzing.outcome import Kind, Outcome

READY_S = 120.0
"""A child loads its reader and makes its sound inputs within this."""
DEADLINE_S = 60.0
"""An input that takes longer hangs. Most take milliseconds; what care_live gives up by itself takes 30 s at most."""
_LAST_WORDS_S = 1.0


@dataclass
class Tally:
    """What one target has come to."""

    target: str
    kinds: Counter[Kind] = field(default_factory=Counter)
    failures: dict[str, Outcome] = field(default_factory=dict)
    """The first failure of each digest."""
    counts: Counter[str] = field(default_factory=Counter)
    """Failures by digest."""

    @property
    def n_failed(self) -> int:
        return sum(self.counts.values())

    def add(self, outcome: Outcome) -> bool:
        """Count an outcome; return whether it is a failure of a new kind."""
        self.kinds[outcome.kind] += 1
        if outcome.passed:
            return False
        self.counts[outcome.digest] += 1
        return self.failures.setdefault(outcome.digest, outcome) is outcome


class LostError(Exception):
    """The child has ended or hangs; carries the outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Child:
    """A process that reads cases of one target."""

    def __init__(self, module: str, seed: int, folder: Path, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._stopped = folder / "stopped.txt"
        self._connection, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=child.serve, args=(module, seed, folder, theirs), name=module)
        self._process.start()
        theirs.close()
        self.n_originals = self._answer(READY_S)

    def read(self, number: int) -> Outcome:
        """Return how a case ended.

        Raises
        ------
        LostError
            It ended the child, too.
        """
        self._connection.send((number, None))
        outcome = self._answer(self._deadline_s)
        assert isinstance(outcome, Outcome)
        return outcome

    def save(self, number: int, place: Path) -> None:
        self._connection.send((number, place))
        self._answer(READY_S)

    def close(self) -> None:
        """Let the process end by itself where it still can."""
        with suppress(OSError):
            self._connection.send(None)
        self._process.join(_LAST_WORDS_S)
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _answer(self, deadline_s: float) -> object:
        if not self._connection.poll(deadline_s):
            raise LostError(Outcome("hang", self._where()))
        try:
            return self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            if self._process.exitcode == 1:
                raise RuntimeError("the fuzzer failed, not what it reads; its traceback is above") from None
            words = self._stopped.read_text(errors="replace")
            raise LostError(Outcome("crash", f"{words}\nexit code {self._process.exitcode}")) from None

    def _where(self) -> str:
        """Ask a child that hangs for its calls, outermost first as in a traceback."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGUSR1)
        time.sleep(_LAST_WORDS_S)
        lines = self._stopped.read_text(errors="replace").splitlines()
        return "\n".join([*reversed(lines), f"no answer within {self._deadline_s:g} s"])


@dataclass(frozen=True)
class Campaign:
    """Fuzz one target for some time, or a number of inputs, whatever comes first."""

    target: str
    module: str
    seed: int
    seconds: float
    out: Path
    """Where failures are kept, each in a folder of its own."""
    n_inputs: int = sys.maxsize
    deadline_s: float = DEADLINE_S

    def run(self) -> Tally:
        """Read case after case; a child that was lost is replaced, and what its start takes is not counted."""
        tally, left_s, number = Tally(self.target), self.seconds, 0
        while left_s > 0 and number < self.n_inputs:
            with self._child() as reader:
                began_s = time.monotonic()
                number = self._until_lost(reader, tally, number, began_s + left_s)
                left_s -= time.monotonic() - began_s
        return tally

    def _until_lost(self, reader: Child, tally: Tally, number: int, end: float) -> int:
        """Read on from a case until the time is over or the child is of no more use; return the next number."""
        while time.monotonic() < end and number < self.n_inputs:
            try:
                outcome = reader.read(number)
            except LostError as loss:
                outcome = loss.outcome
            lost = outcome.kind in {"hang", "crash", "memory"}
            if tally.add(outcome):
                self._keep(None if lost else reader, number, outcome)
            number += 1
            if lost:
                break
        return number

    def _keep(self, reader: Child | None, number: int, outcome: Outcome) -> None:
        """Save the first case of a failure, by a new child where the old one is lost; print how to repeat it."""
        place = self.out / f"{self.target}-{outcome.digest}"
        with nullcontext(reader) if reader else self._child() as saver:
            saver.save(number, place)
        again = f"python tools/fuzz.py {self.target} --replay {place}"
        (place / "failure.txt").write_text(f"{again}\n\n{outcome.detail}\n", encoding="utf-8")
        print(f"{self.target}: {outcome.headline}\n    {again}", flush=True)

    @contextmanager
    def _child(self) -> Iterator[Child]:
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=in_memory()) as folder:
            one = Child(self.module, self.seed, Path(folder), self.deadline_s)
            try:
                yield one
            finally:
                one.close()


def in_memory() -> str | None:
    """Return a folder in memory, where there is one: files come and go by the thousand."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
