"""What a tap keeps: bounded, whole volumes refused, resent in order."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from care_live.images import Frame, Plan, PlaneIndex, RunStarted, SourceEvent, VolumeKey, read_only
from care_live.wire.send_buffer import SendBuffer, VolumeAdmission

PLAN = Plan(stacks={VolumeKey(t): tuple(range(4)) for t in range(100)}, shape_px=(10, 10))


def frame(number: int) -> Frame:
    return Frame("r", number, PlaneIndex(t=number), read_only(np.zeros((2, 2), np.uint16)), 0)


@given(st.lists(st.integers(0, 6), max_size=200), st.integers(1, 30))
@settings(deadline=None)
def test_a_volume_is_taken_whole_or_not_at_all(acknowledged: list[int], max_planes: int) -> None:
    """However slowly memory comes back: never half a volume, never more than the limit (but one volume always)."""
    admission = VolumeAdmission(max_planes * 100, PLAN)
    taken: dict[VolumeKey, int] = {}
    releases = iter(acknowledged)
    for t in range(30):
        for z in range(4):
            index = PlaneIndex(t=t, z=z)
            taken[index.volume] = taken.get(index.volume, 0) + admission.admit(index, 100)
            n_back = min(next(releases, 0), admission.held_bytes // 100)
            admission.release(100 * n_back)
            assert admission.held_bytes <= max(max_planes, 4) * 100
    assert set(taken.values()) <= {0, 4}
    assert admission.n_refused == sum(4 for n in taken.values() if n == 0)


def test_memory_that_was_kept_for_planes_that_never_came_is_given_back() -> None:
    admission = VolumeAdmission(400, PLAN)
    assert admission.admit(PlaneIndex(t=0, z=0), 100)  # 300 more are promised
    assert not admission.admit(PlaneIndex(t=1, z=0), 100)
    admission.release(100)
    assert admission.admit(PlaneIndex(t=2, z=0), 100)
    assert not admission.admit(PlaneIndex(t=1, z=1), 100), "a refused volume stays refused"


def test_without_a_plan_a_volume_may_be_cut_but_then_to_its_end() -> None:
    admission = VolumeAdmission(250, None)
    assert [admission.admit(PlaneIndex(z=z), 100) for z in range(4)] == [True, True, False, False]
    admission.release(200)
    assert not admission.admit(PlaneIndex(z=4), 100)
    assert admission.admit(PlaneIndex(t=1), 100)


@given(st.lists(st.sampled_from(["append", "send", "acknowledge", "rewind"]), max_size=100))
@settings(deadline=None)
def test_everything_is_sent_in_order_until_it_is_acknowledged(steps: list[str]) -> None:
    window, n_appended, received = SendBuffer(), 0, 0
    for step in steps:
        if step == "append":
            window.append(frame(n_appended))
            n_appended += 1
        elif step == "send" and (event := window.to_send()) is not None:
            assert number(event) == window.next_number
            received = max(received, window.next_number + 1)
            window.mark_sent()
        elif step == "acknowledge":
            window.acknowledge(received, received)
            assert window.first_number == received
        elif step == "rewind":
            window.rewind(window.first_number)
            assert window.next_number == window.first_number
    assert len(window) == n_appended - window.first_number


def number(event: SourceEvent) -> int:
    assert isinstance(event, Frame)
    return event.arrival


def sent(n: int) -> SendBuffer:
    window = SendBuffer()
    for number in range(n):
        window.append(frame(number))
        window.mark_sent()
    return window


def test_what_the_daemon_has_is_kept_until_it_is_stored() -> None:
    window = sent(6)
    assert window.acknowledge(5, stored_before=2) == 5 * 8
    assert (window.first_number, len(window), window.n_unreceived, window.next_number) == (2, 4, 1, 6)
    assert window.rewind(next_number=5) == 0, "the link was cut: the same daemon has them still"
    assert window.next_number == 5
    assert window.rewind(next_number=0) == 3 * 8, "a daemon that knows nothing"
    assert (window.next_number, window.n_unreceived) == (2, 4)


def test_what_is_received_gives_way_to_new_frames() -> None:
    window = sent(6)
    window.acknowledge(5, stored_before=0)
    window.keep_at_most(2 * 8)
    assert (window.first_number, window.n_unreceived) == (3, 1)
    window.keep_at_most(0)
    assert (window.first_number, len(window)) == (5, 1), "never what no daemon has"


def test_a_daemon_cannot_make_a_tap_forget_what_it_does_not_have() -> None:
    window = sent(3)
    window.acknowledge(1, stored_before=10**6)
    assert (window.first_number, len(window)) == (1, 2)


def test_two_daemons_that_are_killed_one_after_the_other_make_one_start() -> None:
    """The second one gets the start that the first one was sent, and had not brought to the disk."""
    window, started = sent(6), RunStarted("r", PLAN)
    window.acknowledge(5, stored_before=3)
    for _ in range(2):
        window.rewind(0)
        window.begin_with(started)
        assert window.to_send() is started and window.next_number == 2
        window.mark_sent()
        following = window.to_send()
        assert following is not None and number(following) == 3
