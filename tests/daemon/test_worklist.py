"""What several workers may take from the list, and what becomes of the job of one that was lost."""

from __future__ import annotations

import threading

import numpy as np

from care_live.daemon.policy import FromStore, Schedule
from care_live.daemon.worklist import Turn, Worklist
from care_live.images import VolumeKey
from tests.make.records import volume
from tests.make.waiting import until

WAIT_S = 60.0


def worklist_with(*keys: VolumeKey) -> Worklist:
    worklist = Worklist(Schedule())
    for key in keys:
        worklist.offer(volume(np.zeros((2, 4, 4), np.uint16), key))
    return worklist


def taken(worklist: Worklist) -> Turn:
    turn = worklist.next()
    assert turn is not None
    return turn


def test_live_jobs_are_numbered_as_they_are_taken_and_late_ones_are_not():
    worklist = worklist_with(VolumeKey(0, 0), VolumeKey(0, 1))
    worklist.later(VolumeKey(5))
    worklist.stored(VolumeKey(5))
    turns = [taken(worklist) for _ in range(3)]
    assert [turn.number for turn in turns] == [0, 1, None]
    assert turns[2].job == FromStore((VolumeKey(5),))


def test_a_worker_takes_only_what_it_may():
    worklist = worklist_with(VolumeKey(0, 0), VolumeKey(0, 1))
    turn = worklist.next(lambda keys, at_work: keys[0].p == 1)
    assert turn is not None and turn.job.keys == (VolumeKey(0, 1),)


def test_a_worker_that_waits_looks_again_when_more_may_be_taken():
    worklist = worklist_with(VolumeKey(0, 0), VolumeKey(0, 1))
    taken(worklist)
    asked, measured, found = threading.Event(), threading.Event(), []

    def may_take(keys: tuple[VolumeKey, ...], at_work: object) -> bool:
        asked.set()
        return measured.is_set()

    other = threading.Thread(target=lambda: found.append(worklist.next(may_take)))
    other.start()
    assert asked.wait(WAIT_S)
    measured.set()
    worklist.look_again()
    other.join(WAIT_S)
    assert found[0].job.keys == (VolumeKey(0, 1),)


def test_a_job_whose_worker_was_lost_comes_first_and_keeps_its_number():
    worklist = worklist_with(VolumeKey(0, 0), VolumeKey(0, 1))
    lost = taken(worklist)
    assert worklist.again(lost)
    again = taken(worklist)
    assert (again.job, again.number, again.n_moves) == (lost.job, 0, 1)


def test_a_worker_that_is_far_ahead_takes_nothing_but_what_a_lost_one_had():
    worklist = worklist_with(VolumeKey(0, 0), VolumeKey(0, 1), VolumeKey(0, 2))
    first, _ = taken(worklist), taken(worklist)
    found: list[Turn | None] = []
    other = threading.Thread(target=lambda: found.extend(worklist.next(n_ahead=1) for _ in range(2)))
    other.start()
    assert worklist.again(first)
    until(lambda: len(found) == 1, WAIT_S)
    assert found[0] is not None and found[0].job is first.job
    worklist.passed_on(1)
    other.join(WAIT_S)
    assert found[1] is not None and found[1].job.keys == (VolumeKey(0, 2),)


def test_the_last_come_when_nothing_else_is_left():
    worklist = worklist_with(VolumeKey(0))
    for t in (5, 6):
        worklist.stored(VolumeKey(t))
    worklist.last(VolumeKey(5))
    worklist.later(VolumeKey(6))
    assert worklist.waiting == (1, 2)
    worklist.intake_over()
    order = []
    for _ in range(3):
        turn = taken(worklist)
        order.append(turn.job.keys[0].t)
        worklist.finished(turn)
    assert order == [0, 6, 5]
    assert worklist.next() is None


def test_draining_leaves_the_last_to_the_next_start():
    worklist = worklist_with()
    worklist.stored(VolumeKey(5))
    worklist.last(VolumeKey(5))
    worklist.drain()
    worklist.intake_over()
    assert worklist.next() is None


def test_workers_stay_while_a_job_may_come_back():
    worklist = worklist_with(VolumeKey(0))
    lost = taken(worklist)
    worklist.intake_over()
    found: list[Turn | None] = []
    other = threading.Thread(target=lambda: found.append(worklist.next()))
    other.start()
    assert worklist.again(lost)
    other.join(WAIT_S)
    assert found[0] is not None and found[0].job is lost.job
    worklist.finished(found[0])
    assert worklist.next() is None


def test_after_a_stop_no_job_comes_back():
    worklist = worklist_with(VolumeKey(0, 0), VolumeKey(0, 1))
    first, second = taken(worklist), taken(worklist)
    assert worklist.again(first)
    worklist.stop()
    assert not worklist.again(second)
    assert [turn.job for turn in worklist.abandoned()] == [first.job]
