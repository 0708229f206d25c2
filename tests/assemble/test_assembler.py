"""Laws: whatever the order, every plane is at the place that its own pixels state, or is named missing."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from care_live.assemble import Assembler
from care_live.config import AssembleConfig
from care_live.errors import SourceError
from care_live.images import Frame, Plan, PlaneIndex, RunStarted, StillAcquiring, Volume, VolumeKey
from care_live.open_volumes import FrameDropped, VolumeOpened
from tests.make.stamped_frames import SHAPE, Rig, assert_in_place, indices, make_plan, stamped, volumes


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[Plan, list[PlaneIndex]]:
    """A plan, and its planes in any order with some dropped and some doubled."""
    plan = make_plan(*(draw(st.integers(1, most)) for most in (3, 2, 2, 5)))
    planned = indices(plan)
    kept = draw(st.lists(st.sampled_from(planned), unique=True))
    doubled = draw(st.lists(st.sampled_from(kept), max_size=5)) if kept else []
    return plan, draw(st.permutations(kept + doubled))


@given(deliveries())
@settings(max_examples=150, deadline=None)
def test_any_order_with_drops_and_duplicates_puts_every_plane_in_its_place(delivery):
    plan, sent = delivery
    rig = Rig(plan)
    events = rig.send(sent) + rig.end()
    closed = volumes(events)
    assert set(sent) == {PlaneIndex(*key, z) for key, volume in closed.items() for z in volume.integrity.received}
    for key, volume in closed.items():
        assert volume.integrity.expected == plan.stacks[key]
        assert_in_place(volume)
        assert volume.closed == ("run-end" if volume.integrity.missing else "complete")
    counts = rig.assembler.counts
    assert counts.planned == plan.n_planes == counts.received + counts.lost
    assert counts.received == len(set(sent))
    assert sum(counts.dropped.values()) == counts.dropped.get("duplicate", 0) == len(sent) - len(set(sent))
    assert counts.open_bytes == counts.open_volumes == 0


@given(deliveries())
@settings(max_examples=50, deadline=None)
def test_a_frame_that_has_its_place_comes_out_as_it_is_and_volumes_are_read_only(delivery):
    plan, sent = delivery
    rig = Rig(plan)
    events = rig.send(sent) + rig.end()
    closed = volumes(events)
    opened = [event.key for event in events if isinstance(event, VolumeOpened)]
    assert sorted(opened) == sorted(closed)
    placed = [event for event in events if isinstance(event, Frame)]
    assert [frame.index for frame in placed] == list(dict.fromkeys(sent))
    for frame in placed:
        volume = closed[frame.index.volume]
        assert (frame.pixels == volume.pixels[volume.integrity.expected.index(frame.index.z)]).all()
    for volume in closed.values():
        with pytest.raises(ValueError, match="read-only"):
            volume.pixels[0, 0, 0] = 1


def test_a_volume_closes_at_its_last_plane_and_not_because_another_began():
    plan = make_plan(n_t=1, n_c=2, n_z=3)
    rig = Rig(plan)
    interleaved = [PlaneIndex(0, 0, c, z) for z in range(3) for c in range(2)]
    assert not volumes(rig.send(interleaved[:4]))
    assert list(volumes(rig.send(interleaved[4:5]))) == [VolumeKey(0, 0, 0)]
    assert list(volumes(rig.send(interleaved[5:]))) == [VolumeKey(0, 0, 1)]


def test_rows_follow_the_plans_own_z_indices():
    plan = Plan(stacks={VolumeKey(0): (2, 5, 9)}, shape_px=SHAPE)
    rig = Rig(plan)
    events = rig.send([PlaneIndex(z=9), PlaneIndex(z=2), PlaneIndex(z=5)])
    assert next(event.planes for event in events if isinstance(event, VolumeOpened)) == (2, 5, 9)
    assert_in_place(volumes(events)[VolumeKey(0)])


@pytest.mark.parametrize(
    ("index", "changes", "reason"),
    [
        pytest.param(PlaneIndex(z=0), {"run_id": "other"}, "wrong-run", id="another-run"),
        pytest.param(PlaneIndex(z=0), {"pixels": np.zeros((5, 6), np.uint16)}, "wrong-shape", id="binning-changed"),
        pytest.param(PlaneIndex(z=0), {"pixels": np.zeros(SHAPE, np.uint8)}, "wrong-dtype", id="8-bit"),
        pytest.param(PlaneIndex(z=3), {}, "unplanned", id="one-slice-too-many"),
        pytest.param(PlaneIndex(t=2), {}, "unplanned", id="volume-not-planned"),
    ],
)
def test_a_frame_without_a_place_is_dropped_and_counted(index, changes, reason):
    rig = Rig(make_plan())
    (dropped,) = rig.send([index], **changes)
    assert isinstance(dropped, FrameDropped)
    assert (dropped.index, dropped.reason) == (index, reason)
    assert rig.assembler.counts.dropped == {reason: 1}
    assert rig.assembler.counts.received == 0


def test_planes_after_the_deadline_are_late_and_second_ones_duplicates():
    rig = Rig(make_plan(n_t=1), deadline_s=2)
    rig.send([PlaneIndex(z=0), PlaneIndex(z=2)])
    rig.now_ns = 2_000_000_000
    (volume,) = rig.assembler.tick()
    assert isinstance(volume, Volume)
    assert (volume.closed, volume.integrity.missing) == ("deadline", (1,))
    assert [event.reason for event in rig.send([PlaneIndex(z=1), PlaneIndex(z=2)])] == ["late", "duplicate"]
    assert rig.assembler.counts.lost == 1


def test_a_plane_puts_the_deadline_off():
    rig = Rig(make_plan(n_t=1), deadline_s=2)
    for z in range(2):
        rig.now_ns += 1_900_000_000
        rig.send([PlaneIndex(z=z)])
        assert rig.assembler.tick() == []
    rig.now_ns += 2_000_000_000
    assert [event.closed for event in rig.assembler.tick()] == ["deadline"]


def test_time_in_which_the_process_stood_still_closes_no_volume(monkeypatch):
    """As by Ctrl-Z: the planes came meanwhile, and are read afterwards."""
    now_ns = 0
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns)
    assembler = Assembler(AssembleConfig(deadline_s=2), admit=lambda nbytes: True)
    assembler.take(RunStarted("run", make_plan(n_t=1)))
    assembler.take(Frame("run", 0, PlaneIndex(z=0), stamped(PlaneIndex(z=0)), host_time_ns=0))
    now_ns = 60_000_000_000
    assert assembler.tick() == []
    now_ns += 900_000_000
    assert assembler.tick() == []
    now_ns += 900_000_000
    assert [event.closed for event in assembler.tick()] == ["deadline"], "silence that it waited through counts"


def test_open_volumes_wait_while_the_source_says_that_the_acquisition_goes_on():
    rig = Rig(make_plan(n_t=1), deadline_s=2)
    rig.send([PlaneIndex(z=0)])
    for _ in range(3):
        rig.now_ns += 1_900_000_000
        assert rig.assembler.take(StillAcquiring()) == rig.assembler.tick() == []
    rig.now_ns += 2_000_000_000
    assert [event.closed for event in rig.assembler.tick()] == ["deadline"]


def test_integrity_tells_order_duplicates_and_the_worst_gap():
    rig = Rig(make_plan(n_t=1, n_z=4))
    events = []
    for at_ms, z in [(0, 0), (10, 2), (50, 1), (55, 1), (60, 3)]:
        rig.now_ns = at_ms * 1_000_000
        events += rig.send([PlaneIndex(z=z)], exposure_ms=5.0, core_time_us=1_000 * at_ms)
    volume = volumes(events)[VolumeKey(0)]
    integrity = volume.integrity
    assert (integrity.n_duplicates, integrity.n_out_of_order, integrity.worst_gap_ms) == (1, 1, 40.0)
    assert (volume.first_plane_ns, volume.last_plane_ns) == (0, 60_000_000)
    assert (volume.acquired_us, volume.exposure_ms) == (60_000, 5.0)


def test_an_endless_plan_takes_any_time_point():
    rig = Rig(make_plan(n_t=1, endless=True))
    closed = volumes(rig.send(PlaneIndex(t=t, z=z) for t in (0, 1, 40) for z in range(3)) + rig.end("aborted"))
    assert [key.t for key in closed] == [0, 1, 40]
    assert {volume.closed for volume in closed.values()} == {"complete"}
    assert rig.assembler.counts.planned == rig.assembler.counts.received == 9


def test_without_a_plan_volumes_close_at_the_deadline_or_the_end_and_hold_what_came():
    rig = Rig(Plan(stacks={}, shape_px=SHAPE), deadline_s=1)
    sent = [PlaneIndex(t=0, z=z) for z in (3, 0, 7)]
    assert not volumes(rig.send(sent))
    rig.now_ns = 1_000_000_000
    (first,) = rig.assembler.tick()
    assert (first.closed, first.integrity.expected, first.integrity.missing) == ("deadline", (0, 3, 7), ())
    assert_in_place(first)
    rig.send([PlaneIndex(t=1, z=2)])
    (second,) = rig.end()
    assert (second.closed, second.pixels.shape) == ("run-end", (1, *SHAPE))
    counts = rig.assembler.counts
    assert (counts.planned, counts.received, counts.lost) == (4, 4, 0)


def test_eight_bit_cameras_stay_eight_bit():
    plan = Plan(stacks={VolumeKey(0): (0,)}, shape_px=SHAPE, dtype="uint8")
    rig = Rig(plan)
    volume = volumes(rig.send([PlaneIndex()], pixels=stamped(PlaneIndex(), dtype="uint8")))[VolumeKey(0)]
    assert volume.pixels.dtype == np.uint8


def test_an_abort_is_not_a_loss_of_volumes_that_never_began():
    rig = Rig(make_plan(n_t=4, n_z=3))
    rig.send([PlaneIndex(t=0, z=0), PlaneIndex(t=0, z=1), PlaneIndex(t=0, z=2), PlaneIndex(t=1, z=0)])
    (cut,) = volumes(rig.end("aborted")).values()
    assert (cut.closed, cut.integrity.missing) == ("run-end", (1, 2))
    counts = rig.assembler.counts
    assert (counts.received, counts.lost, counts.unacquired, counts.incomplete_volumes) == (4, 2, 6, 1)


def test_a_finished_run_lost_the_volumes_that_never_began():
    rig = Rig(make_plan(n_t=2, n_z=3))
    rig.send([PlaneIndex(t=0, z=z) for z in range(3)])
    rig.end()
    assert rig.assembler.counts.lost == 3


def test_planes_of_a_volume_that_an_earlier_session_stored_are_no_loss():
    """A tap sends again what it kept: of a stored volume perhaps a few planes only."""
    rig = Rig(make_plan(n_t=3, n_z=3), stored=[VolumeKey(0), VolumeKey(1)])
    events = rig.send([PlaneIndex(t=1, z=2), *(PlaneIndex(t=2, z=z) for z in range(3))]) + rig.end()
    assert list(volumes(events)) == [VolumeKey(2)]
    assert [event.reason for event in events if isinstance(event, FrameDropped)] == ["stored"]
    counts = rig.assembler.counts
    assert (counts.planned, counts.received, counts.lost, counts.already_stored) == (3, 3, 0, 1)
    assert not counts.dropped


def test_what_the_tap_refused_is_skipped_and_not_lost():
    rig = Rig(make_plan(n_t=1, n_z=3))
    rig.send([PlaneIndex(z=0)])
    rig.end(n_refused=1)
    counts = rig.assembler.counts
    assert (counts.lost, counts.skipped) == (1, 1)


def test_a_second_run_is_refused():
    rig = Rig(make_plan())
    with pytest.raises(SourceError, match="run two started while run run was going on"):
        rig.assembler.take(RunStarted("two", make_plan()))
