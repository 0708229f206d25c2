"""Signs of life of the inference process: they distinguish a hang from a slow machine, which a clock cannot.

A volume may take minutes, so its duration proves nothing. What counts is a message dealt with, a run of the network
begun or ended, and processor time used: work on a CPU costs it, a deadlock does not. A process that waits for a device
may use processor time for ever, so there only the end of the run counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import NamedTuple

from care_live.errors import RestoreError

_N_FIGURES = 5
_HANDLED, _BEGUN, _ENDED, _SLOWEST_NS, _ENTERED = range(_N_FIGURES)
_PATIENCE = 5.0
"""Times the slowest run of the network so far, on a device."""
_FIRST_RUN_S = 60.0
"""The first run on a device loads its libraries."""
_LONGEST_LOOK_S = 1.0
"""More than this between two looks: this process was held up itself, perhaps with the whole machine."""


class LostError(RestoreError):
    """The process died or hangs; this one will not answer any more."""


class LastSeen(NamedTuple):
    """What another process can measure."""

    n_handled: int = 0
    """Messages that it has dealt with."""
    n_begun: int = 0
    """Runs of the network."""
    n_ended: int = 0
    slowest_s: float = 0.0
    """The slowest run so far."""
    cpu_s: float = 0.0
    """Processor time used."""

    @property
    def runs(self) -> bool:
        """Whether a run of the network has begun and not ended."""
        return self.n_begun > self.n_ended


class Pulse:
    """Figures in memory that a process shares with its parent: it writes them, the parent reads.

    Parameters
    ----------
    context : of multiprocessing, by which the process is started
    """

    def __init__(self, context: BaseContext) -> None:
        self._figures = context.RawArray("q", _N_FIGURES)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Enter around one run of the network."""
        begun_ns = time.perf_counter_ns()  # Windows' other clock stands still for 15 ms
        self._figures[_BEGUN] += 1
        try:
            yield
        finally:
            self._figures[_SLOWEST_NS] = max(self._figures[_SLOWEST_NS], time.perf_counter_ns() - begun_ns)
            self._figures[_ENDED] += 1

    def entered(self) -> None:
        """The process runs: Python and its libraries are loaded."""
        self._figures[_ENTERED] = 1

    @property
    def has_entered(self) -> bool:
        """Whether the process has come so far."""
        return bool(self._figures[_ENTERED])

    def handled(self) -> None:
        """One more message is dealt with."""
        self._figures[_HANDLED] += 1

    def read(self, cpu_s: float) -> LastSeen:
        """Return the figures, beside the processor time that the system counts."""
        figures = self._figures
        return LastSeen(figures[_HANDLED], figures[_BEGUN], figures[_ENDED], figures[_SLOWEST_NS] / 1e9, cpu_s)


class Silence:
    """For how long a process that owes an answer has given no sign of life.

    Time counts only while this process runs itself: a suspended machine is no hang.
    """

    def __init__(self) -> None:
        self._last = LastSeen()
        self._looked_s = 0.0
        self._owed = False
        self._silent_s = 0.0

    def look(self, seen: LastSeen, now_s: float, *, owes: bool, on_device: bool = False) -> float:
        """Note what is seen now; return the seconds of silence.

        Parameters
        ----------
        owes : it has been sent something that it has not dealt with
        on_device : the network does not run on the CPU
        """
        works = seen.cpu_s > self._last.cpu_s and not (on_device and seen.runs)
        if not owes or works or seen[:3] != self._last[:3]:
            self._silent_s = 0.0
        elif self._owed:
            self._silent_s += min(now_s - self._looked_s, _LONGEST_LOOK_S)
        self._last, self._looked_s, self._owed = seen, now_s, owes
        return self._silent_s


def limit_s(hang_s: float, seen: LastSeen, *, on_device: bool) -> float:
    """Return how much silence is no hang yet: on a device no less than several times its slowest run."""
    if not (on_device and seen.runs):
        return hang_s
    return max(hang_s, _PATIENCE * seen.slowest_s) if seen.n_ended else _FIRST_RUN_S
