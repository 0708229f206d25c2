"""What goes wrong in a laboratory, one thing after another, at random but the same for the same seed."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults.audience import Viewer
from tests.faults.disturbed import CLOCK, SLOW_DISK
from tests.faults.lab import DaemonUnderTest
from tests.publish.relay import Relay


@dataclass(frozen=True)
class Trouble:
    """Something that begins and, after a while, is over."""

    name: str
    begin: Callable[[], None]
    end: Callable[[], None] = lambda: None
    lasts_s: float = 0.0


def troubles(
    daemon: DaemonUnderTest, viewers: Sequence[Viewer], camera_link: Relay, recorder_link: Relay
) -> list[Trouble]:
    """Return all that can go wrong."""
    folder = daemon.folder
    return [
        *(Trouble("viewer frozen", viewer.freeze, viewer.thaw, 15.0) for viewer in viewers),
        Trouble("inference killed", lambda: _signal_inference(daemon, signal.SIGKILL)),
        Trouble("inference hung", lambda: _signal_inference(daemon, signal.SIGSTOP)),
        Trouble("disk slow", *_file(folder / SLOW_DISK, "0.05"), 8.0),
        Trouble("camera's link cut", camera_link.cut, camera_link.mend, 3.0),
        Trouble("recorder's link cut", recorder_link.cut, recorder_link.mend, 6.0),
        Trouble("clock an hour ahead", *_file(folder / CLOCK, "3600"), 8.0),
        Trouble("clock an hour behind", *_file(folder / CLOCK, "-3600"), 8.0),
    ]


@dataclass
class Happening:
    """Lets troubles happen in a thread of its own until it is closed."""

    choice: Sequence[Trouble]
    chance: random.Random
    pause_s: float
    """Mean time between the end of one trouble and the next."""
    counts: Counter[str] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._over.wait(self.chance.expovariate(1 / self.pause_s)):
            trouble = self.chance.choice(self.choice)
            self.counts[trouble.name] += 1
            trouble.begin()
            try:
                self._over.wait(trouble.lasts_s)
            finally:
                trouble.end()

    def close(self) -> None:
        self._over.set()


@contextmanager
def happening(choice: Sequence[Trouble], seed: int, pause_s: float) -> Iterator[Happening]:
    """Let troubles happen inside the block."""
    one = Happening(choice, random.Random(seed), pause_s)
    thread = threading.Thread(target=one.run, name="troubles")
    thread.start()
    try:
        yield one
    finally:
        one.close()
        thread.join()


def _signal_inference(daemon: DaemonUnderTest, number: signal.Signals) -> None:
    with suppress(psutil.Error, ValueError):
        max(daemon.process.children(), key=lambda child: child.memory_info().rss).send_signal(number)


def _file(path: Path, text: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what writes a file and what removes it."""
    return lambda: _replace(path, text), lambda: path.unlink(missing_ok=True)


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(".new")
    partial.write_text(text)
    partial.replace(path)
