"""Volumes are admitted or refused whole, at their first plane."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from care_live.assemble.volume_memory import VolumeMemory
from care_live.images import Plan, PlaneIndex, Volume, VolumeKey
from care_live.open_volumes import VolumeOpened, VolumeRefused
from tests.make.stamped_frames import SHAPE, Rig, indices, make_plan, volumes

PLANE_BYTES = SHAPE[0] * SHAPE[1] * 2


def test_a_refused_volume_skips_all_its_planes_and_the_next_one_is_asked_for_again():
    rig = Rig(make_plan(n_t=2, n_z=3), budget_bytes=3 * PLANE_BYTES - 1)
    events = rig.send([PlaneIndex(z=0), PlaneIndex(z=1)])
    assert isinstance(events[0], VolumeRefused)
    assert [event.reason for event in events[1:]] == ["refused-volume", "refused-volume"]
    rig.room_bytes = 3 * PLANE_BYTES
    assert rig.send([PlaneIndex(z=2)])[0].reason == "refused-volume"
    assert isinstance(rig.send([PlaneIndex(t=1, z=0)])[0], VolumeOpened)
    rig.end("aborted")
    counts = rig.assembler.counts
    assert (counts.refused_volumes, counts.skipped, counts.received, counts.lost) == (1, 3, 1, 2)


def test_planes_of_a_refused_volume_that_never_came_are_lost_not_skipped():
    rig = Rig(make_plan(n_t=1, n_z=3), budget_bytes=0, deadline_s=1)
    rig.send([PlaneIndex(z=0), PlaneIndex(z=1), PlaneIndex(z=1)])
    rig.now_ns = 10**9
    assert rig.assembler.tick() == []
    counts = rig.assembler.counts
    assert (counts.skipped, counts.lost, counts.dropped["duplicate"]) == (2, 1, 1)


def test_open_volumes_have_a_budget_of_their_own():
    shape = (512, 512)
    plan = Plan(stacks={VolumeKey(t): (0, 1) for t in range(3)}, shape_px=shape)
    rig = Rig(plan, memory_mib=2)
    pixels = np.ones(shape, np.uint16)
    events = rig.send([PlaneIndex(t=t) for t in range(3)], pixels=pixels)
    refused = [event for event in events if isinstance(event, VolumeRefused)]
    assert [event.key.t for event in refused] == [2]
    assert "raise assemble.memory_mib" in refused[0].reason
    assert rig.room_bytes == 2**30 - 2 * 2**20  # downstream was not asked for the refused one
    rig.send([PlaneIndex(t=0, z=1)], pixels=pixels)
    assert rig.assembler.counts.open_bytes == 2**20


def test_a_volume_for_which_the_machine_has_no_memory_is_refused_and_the_run_goes_on(monkeypatch):
    take = VolumeMemory.take

    def takes_no_third(memory, shape, dtype):
        if len(opened) == 2:
            opened.clear()
            raise MemoryError
        opened.append(shape)
        return take(memory, shape, dtype)

    opened: list[tuple[int, ...]] = []
    monkeypatch.setattr(VolumeMemory, "take", takes_no_third)
    rig = Rig(make_plan(n_t=4, n_z=1))
    room_bytes = rig.room_bytes
    events = rig.send([PlaneIndex(t=t) for t in range(4)])
    assert sorted(volumes(events)) == [VolumeKey(0), VolumeKey(1), VolumeKey(3)]
    (refused,) = [event for event in events if isinstance(event, VolumeRefused)]
    assert refused.key == VolumeKey(2) and "end other programs" in refused.reason
    assert rig.room_bytes == room_bytes - 3 * PLANE_BYTES, "the stages behind count none of it"


def test_memory_is_taken_once_the_stages_behind_have_made_room_for_it(monkeypatch):
    def takes_where_there_is_room(memory, shape, dtype):
        if rig.room_bytes == room_bytes:
            raise MemoryError
        return take(memory, shape, dtype)

    take = VolumeMemory.take
    monkeypatch.setattr(VolumeMemory, "take", takes_where_there_is_room)
    rig = Rig(make_plan(n_t=1, n_z=1))
    room_bytes = rig.room_bytes
    assert isinstance(rig.send([PlaneIndex()])[0], VolumeOpened)


@pytest.mark.parametrize("n_taken", [0, 2])
def test_without_a_plan_a_plane_for_which_the_machine_has_no_memory_is_skipped_and_the_run_goes_on(
    monkeypatch, n_taken
):
    def takes_no_more(*_):
        raise MemoryError

    rig = Rig(Plan(stacks={}, shape_px=SHAPE))
    room_bytes = rig.room_bytes
    events = rig.send([PlaneIndex(z=z) for z in range(n_taken)])
    with monkeypatch.context() as patched:
        patched.setattr(np, "empty", takes_no_more)
        events += rig.send([PlaneIndex(z=2)])
    assert events[-1].reason == "refused-volume"
    assert sum(isinstance(event, VolumeRefused) for event in events) == (n_taken == 0)
    assert rig.room_bytes == room_bytes - n_taken * PLANE_BYTES, "the stages behind count none of it"
    assert len(volumes(rig.send([PlaneIndex(t=1)]) + rig.end())) == (n_taken > 0) + 1
    assert rig.assembler.counts.skipped == 1


def test_without_a_plan_every_plane_asks_for_its_own_memory():
    rig = Rig(Plan(stacks={}, shape_px=SHAPE), budget_bytes=2 * PLANE_BYTES)
    events = rig.send([PlaneIndex(z=z) for z in range(3)])
    assert events[-1].reason == "refused-volume"
    (volume,) = volumes(rig.end()).values()
    assert volume.integrity.received == (0, 1)
    counts = rig.assembler.counts
    assert (counts.planned, counts.received, counts.skipped) == (3, 2, 1)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_books_balance_whatever_is_refused(data):
    plan = make_plan(n_t=3, n_c=2, n_z=3)
    rig = Rig(plan, budget_bytes=0)
    events = []
    for index in data.draw(st.permutations(indices(plan)))[: data.draw(st.integers(0, plan.n_planes))]:
        rig.room_bytes = data.draw(st.sampled_from([0, 3 * PLANE_BYTES]))
        events += rig.send([index])
    events += rig.end(data.draw(st.sampled_from(["finished", "aborted"])))
    counts = rig.assembler.counts
    assert counts.planned == counts.received + counts.lost + counts.skipped + counts.unacquired
    opened = {event.key for event in events if isinstance(event, VolumeOpened)}
    refused = {event.key for event in events if isinstance(event, VolumeRefused)}
    assert not opened & refused
    assert {event.key for event in events if isinstance(event, Volume)} == opened
