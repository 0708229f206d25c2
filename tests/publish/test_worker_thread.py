"""A thread does jobs in their turn, and says when there is a result."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from care_live.publish.worker_thread import WorkerThread

WAIT_S = 60.0


class Work:
    """Numbers are doubled as soon as the gate is open."""

    def __init__(self) -> None:
        self.gate, self.done, self.begun = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)
        self.thread: WorkerThread[int, int] = WorkerThread("doubling", self._double, self.done.release)

    def _double(self, number: int) -> int:
        self.begun.release()
        assert self.gate.wait(WAIT_S)
        return 2 * number

    def results(self, n: int) -> list[tuple[int, int]]:
        for _ in range(n):
            assert self.done.acquire(timeout=WAIT_S)
        return self.thread.take()


@pytest.fixture
def work() -> Iterator[Work]:
    work = Work()
    yield work
    work.gate.set()
    work.thread.close()
    assert work.thread.join(WAIT_S)


def test_results_come_with_their_jobs_and_once(work: Work) -> None:
    work.gate.set()
    for number in (1, 2, 3):
        assert work.thread.put("all", number) is None
    assert work.results(3) == [(1, 2), (2, 4), (3, 6)]
    assert work.thread.take() == []


def test_it_is_idle_only_when_its_results_are_taken(work: Work) -> None:
    assert work.thread.is_idle
    work.thread.put("all", 1)
    assert not work.thread.is_idle
    work.gate.set()
    assert work.done.acquire(timeout=WAIT_S)
    assert not work.thread.is_idle
    work.thread.take()
    assert work.thread.is_idle


def test_what_waits_too_long_gives_way_to_newer_jobs(work: Work) -> None:
    work.thread.put("all", 0)
    assert work.begun.acquire(timeout=WAIT_S)
    gone = [work.thread.put("all", number, slot="slabs", keep=2) for number in (1, 2, 3)]
    assert gone == [None, None, 1]
    work.gate.set()
    assert work.results(3) == [(0, 0), (2, 4), (3, 6)]


def test_a_clients_jobs_are_dropped_with_it(work: Work) -> None:
    work.thread.put("stays", 0)
    assert work.begun.acquire(timeout=WAIT_S)
    work.thread.put("leaves", 1)
    work.thread.put("stays", 2)
    work.thread.discard("leaves")
    work.gate.set()
    assert work.results(2) == [(0, 0), (2, 4)]
    assert work.thread.is_idle
