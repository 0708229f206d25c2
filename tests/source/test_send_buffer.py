"""What a tap keeps: bounded, whole volumes refused, resent in order."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from care_live.images import Frame, Plan, PlaneIndex, SourceEvent, VolumeKey, read_only
from care_live.source.send_buffer import SendBuffer, VolumeAdmission

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
            window.acknowledge(received)
            assert window.first_number == received
        elif step == "rewind":
            window.rewind()
            assert window.next_number == window.first_number
    assert len(window) == n_appended - window.first_number


def number(event: SourceEvent) -> int:
    assert isinstance(event, Frame)
    return event.arrival
