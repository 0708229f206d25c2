"""The audience of the watchers bench: which clients it has, when one freezes, which one comes late."""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from benches import _audience
from benches._audience import Hall, Seen, Viewer
from benches._pairs import say
from care_live.publish import Delivery, Subscriber

FREEZE_AFTER_S = 5.0
SPAWN = multiprocessing.get_context("spawn")


@dataclass
class House:
    """Everybody who watches."""

    people: list[tuple[Viewer, BaseProcess]]
    hall: Hall
    timers: list[threading.Timer] = field(default_factory=list)

    @classmethod
    @contextmanager
    def filled(
        cls, folder: Path, asked: argparse.Namespace, address: str, seen: dict[str, list[Seen]]
    ) -> Iterator[House]:
        """Seat all watchers before the run, and take their reports when it is over."""
        hall = Hall(SPAWN.Queue(), SPAWN.Semaphore(0), SPAWN.Event())
        with gateway(address, folder) as url:
            house = cls([(viewer, person(hall, viewer, address)) for viewer in viewers(asked)], hall)
            browsers = SPAWN.Process(target=_audience.browse, args=(hall, url, asked.browsers), daemon=True)
            house.people.append((Viewer("browsers"), browsers))
            for _, process in house.people:
                process.start()
            house.wait_until_seated()
            try:
                yield house
            except BaseException:
                house.send_home()
                raise
            finally:
                house.stop_timers()
        house.collect(seen)

    def wait_until_seated(self, timeout_s: float = 120.0) -> None:
        """Wait until everybody has imported what they need.

        Raises
        ------
        RuntimeError
            Somebody is not there in time.
        """
        deadline = time.monotonic() + timeout_s
        for n in range(len(self.people)):
            if not self.hall.seated.acquire(timeout=max(0.1, deadline - time.monotonic())):
                raise RuntimeError(f"{n} of {len(self.people)} watchers are seated after {timeout_s:g} s")

    def begin(self, asked: argparse.Namespace) -> None:
        """The first volume came: from now on one client freezes, and another one comes late."""
        self.timers = [
            threading.Timer(FREEZE_AFTER_S, self.freeze),
            threading.Timer(asked.volumes * period_s(asked) / 2, self.hall.late.set),
        ]
        for timer in self.timers:
            timer.start()

    def freeze(self) -> None:
        for viewer, process in self.people:
            if viewer.role == "frozen":
                psutil.Process(process.pid).suspend()

    def stop_timers(self) -> None:
        for timer in self.timers:
            timer.cancel()
            timer.join()

    def collect(self, seen: dict[str, list[Seen]]) -> None:
        """Take the report of everybody who is not frozen."""
        expected = [viewer.role for viewer, _ in self.people if viewer.role != "frozen"]
        deadline = time.monotonic() + 60
        try:
            for _ in expected:
                one = self.hall.report.get(timeout=max(0.1, deadline - time.monotonic()))
                seen.setdefault(one.role, []).append(one)
        except queue.Empty:
            say(f"of {expected} only {sorted(seen)} have reported")
        self.send_home()

    def send_home(self) -> None:
        for _, process in self.people:
            process.kill()
            process.join(5)


def viewers(asked: argparse.Namespace) -> list[Viewer]:
    """Four full subscribers, a slow one, two that will freeze (one of each way), and one who will be late."""
    return [
        *[Viewer("newest")] * 2,
        *[Viewer("every", "every")] * 2,
        Viewer("slow", work_s=4 * period_s(asked)),
        Viewer("frozen"),
        Viewer("frozen", "every"),
        Viewer("late"),
    ]


def person(hall: Hall, viewer: Viewer, address: str) -> BaseProcess:
    return SPAWN.Process(target=_audience.subscribe, args=(hall, viewer, address), daemon=True)


def period_s(asked: argparse.Namespace) -> float:
    """Return the time from one volume to the next."""
    return max(asked.interval_s, asked.planes / asked.rate_hz)


def wait_for_first(address: str, daemon: psutil.Popen, timeout_s: float = 120.0) -> None:
    """Wait for the first volume.

    Raises
    ------
    RuntimeError
        The daemon has ended, or none came in time.
    """
    with Subscriber(address) as subscriber:
        deadline = time.monotonic() + timeout_s
        while not isinstance(subscriber.next(1.0), Delivery):
            if (code := daemon.poll()) is not None:
                raise RuntimeError(f"the daemon ended with {code} before its first volume")
            if time.monotonic() > deadline:
                raise RuntimeError(f"no volume within {timeout_s:g} s")


@contextmanager
def gateway(address: str, folder: Path) -> Iterator[str]:
    """Start the browser page's server; give its URL."""
    command = [sys.executable, "-m", "care_live", "web", "--connect", address, "--bind", "127.0.0.1:0"]
    with (folder / "web.log").open("w") as log:
        served = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert served.stdout is not None
            yield served.stdout.readline().strip()
        finally:
            served.terminate()
            served.wait(10)
