"""Which volumes a recorder asks for, and when: no sockets, the clock is an argument."""

from __future__ import annotations

from care_live.images import VolumeKey
from care_live.viewer.outstanding import ASK_AGAIN_S, FIRST_WAIT_S, LONGEST_WAIT_S, MAX_ASKED, Outstanding

KEYS = [VolumeKey(t) for t in range(10)]


def test_a_few_are_asked_for_at_a_time_and_again_when_nothing_comes() -> None:
    outstanding = Outstanding()
    for key in [*KEYS, *KEYS]:
        outstanding.want(key)
    assert outstanding.due(0.0) == KEYS[:MAX_ASKED]
    assert outstanding.due(0.0) == []
    outstanding.has_come(KEYS[1])
    assert outstanding.due(1.0) == [KEYS[MAX_ASKED]]
    outstanding.note_arrivals(ASK_AGAIN_S)
    assert outstanding.due(ASK_AGAIN_S + 1) == [], "a slow link still carries them"
    assert sorted(outstanding.due(2 * ASK_AGAIN_S + 1)) == [KEYS[0], *KEYS[2 : MAX_ASKED + 1]]
    assert len(outstanding) == len(KEYS) - 1


def test_what_is_not_there_yet_is_asked_for_ever_more_rarely() -> None:
    outstanding, now_s, waits = Outstanding(), 0.0, []
    outstanding.want(KEYS[0])
    for _ in range(8):
        assert outstanding.due(now_s) == [KEYS[0]]
        outstanding.postpone(KEYS[0], "not yet", began := now_s)
        while not outstanding.due(now_s, lambda _: now_s - began > 0.9):  # noqa: B023
            now_s += 0.5
        outstanding.postpone(KEYS[0], "not yet", now_s)
        waits.append(now_s - began)
        now_s += LONGEST_WAIT_S
    assert waits[0] == FIRST_WAIT_S and waits[-1] == LONGEST_WAIT_S and waits == sorted(waits)
    assert outstanding.why(KEYS[0]) == "not yet"


def test_what_makes_no_sense_now_is_not_asked_for() -> None:
    outstanding = Outstanding()
    outstanding.postpone(KEYS[0], "full", 0.0)
    assert outstanding.due(100.0, lambda _: False) == [] and list(outstanding) == [KEYS[0]]
    outstanding.hurry(lambda _: True)
    assert outstanding.due(0.0) == [KEYS[0]]


def test_what_another_daemon_was_asked_for_is_asked_for_anew_and_first() -> None:
    """Volumes arrive all the time, so silence would never say that the requests are lost."""
    outstanding = Outstanding()
    for key in KEYS[:6]:
        outstanding.want(key)
    assert outstanding.due(0.0) == KEYS[:MAX_ASKED]
    outstanding.has_come(KEYS[1])
    outstanding.note_arrivals(1.0)
    outstanding.ask_anew()
    assert outstanding.due(1.0) == [KEYS[0], KEYS[2], KEYS[3], KEYS[4]]
    assert len(outstanding) == 5


def test_at_the_end_what_was_asked_for_is_asked_for_once_more() -> None:
    outstanding = Outstanding()
    outstanding.want(KEYS[0])
    outstanding.postpone(KEYS[1], "not yet", 0.0)
    assert outstanding.due(0.0) == [KEYS[0]]
    outstanding.hurry(lambda _: True)
    assert sorted(outstanding.due(0.1)) == KEYS[:2]
