"""The queue of jobs: a greedy client waits, and its oldest jobs give way."""

from __future__ import annotations

from care_live.publish.fair_queue import FairQueue


def test_the_client_that_has_used_least_is_next() -> None:
    queue: FairQueue[int] = FairQueue()
    for job in range(3):
        queue.put("greedy", job)
    queue.put("modest", 9)
    served = []
    while (due := queue.next()) is not None:
        served.append(due)
        queue.charge(due[0], 1.0)
    assert served == [("greedy", 0), ("modest", 9), ("greedy", 1), ("greedy", 2)]


def test_time_away_gives_no_credit() -> None:
    queue: FairQueue[int] = FairQueue()
    for job in range(4):
        queue.put("busy", job)
    for _ in range(2):
        assert queue.next() is not None
        queue.charge("busy", 5.0)
    queue.put("away", 7)
    queue.put("away", 8)
    served = []
    for _ in range(3):
        due = queue.next()
        assert due is not None
        served.append(due[0])
        queue.charge(due[0], 5.0)
    assert served == ["away", "busy", "away"]


def test_the_oldest_of_its_slot_gives_way() -> None:
    queue: FairQueue[str] = FairQueue()
    assert queue.put("one", "old", slot="slab", keep=2) is None
    assert queue.put("one", "volume") is None
    assert queue.put("one", "newer", slot="slab", keep=2) is None
    assert queue.put("one", "newest", slot="slab", keep=2) == "old"
    assert len(queue) == 3
    queue.discard("one")
    assert queue.next() is None
