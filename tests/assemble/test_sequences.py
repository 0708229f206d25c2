"""A hardware sequence decides afterwards whether the planes that it labelled can be trusted."""

from __future__ import annotations

import pytest

from care_live.images import PlaneIndex, SequenceEnded, StateChanged, VolumeKey
from tests.make.stamped_frames import Rig, make_plan, volumes


def stack(t: int, n_z: int = 3) -> list[PlaneIndex]:
    return [PlaneIndex(t=t, z=z) for z in range(n_z)]


def changes(events) -> list[tuple[int, str]]:
    return [(event.key.t, event.state) for event in events if isinstance(event, StateChanged)]


def test_snapped_volumes_are_confirmed_when_they_close():
    rig = Rig(make_plan())
    assert volumes(rig.send(stack(0)))[VolumeKey(0)].state == "confirmed"


def test_a_clean_end_confirms_the_volumes_of_the_sequence_and_only_those():
    rig = Rig(make_plan(n_t=3))
    closed = volumes(rig.send(stack(0) + stack(1), sequence_id=4) + rig.send(stack(2), sequence_id=5))
    assert {volume.state for volume in closed.values()} == {"provisional"}
    assert closed[VolumeKey(0)].integrity.sequence_ids == (4,)
    assert rig.assembler.counts.provisional_volumes == 3
    assert changes(rig.assembler.take(SequenceEnded(4, 6, 6))) == [(0, "confirmed"), (1, "confirmed")]
    assert rig.assembler.counts.provisional_volumes == 1


@pytest.mark.parametrize(
    "ended",
    [
        pytest.param(SequenceEnded(4, 6, 6, problem="camera says 7 frames"), id="engine-said-so"),
        pytest.param(SequenceEnded(4, 6, 5), id="one-frame-short"),
        pytest.param(SequenceEnded(4, 6, 7), id="one-frame-too-many"),
    ],
)
def test_a_bad_end_makes_every_volume_of_the_sequence_suspect(ended):
    rig = Rig(make_plan(n_t=3))
    rig.send(stack(0) + stack(1), sequence_id=4)
    rig.send([PlaneIndex(t=2, z=0)], sequence_id=4)
    events = rig.assembler.take(ended)
    assert changes(events) == [(0, "suspect"), (1, "suspect")]
    assert "hardware sequence 4" in events[0].detail
    (cut,) = volumes(rig.end("aborted")).values()
    assert cut.state == "suspect"
    assert rig.assembler.counts.suspect_volumes == 3


@pytest.mark.parametrize(("counter", "name"), [([0, 1, 3], "lost"), ([0, 1, 1], "doubled")])
def test_a_jump_of_the_cameras_counter_makes_the_sequence_suspect_at_once(counter, name):
    rig = Rig(make_plan(n_t=2))
    assert changes(rig.send(stack(0), sequence_id=1)) == []  # no counter, no verdict
    events = []
    for index, count in zip(stack(1), counter, strict=True):
        events += rig.send([index], sequence_id=1, camera_count=count)
    assert changes(events) == [(0, "suspect")], name
    assert volumes(events)[VolumeKey(1)].state == "suspect"
    assert changes(rig.assembler.take(SequenceEnded(1, 6, 6))) == []  # a clean end does not wash it off


def test_the_cameras_counter_may_run_on_over_volumes_and_start_anywhere():
    rig = Rig(make_plan(n_t=2))
    events = []
    for count, index in enumerate(stack(0) + stack(1), start=17):
        events += rig.send([index], sequence_id=1, camera_count=count)
    events += rig.assembler.take(SequenceEnded(1, 6, 6))
    assert changes(events) == [(0, "confirmed"), (1, "confirmed")]


def test_frames_refused_after_they_were_labelled_shift_nothing():
    rig = Rig(make_plan(n_t=1, n_z=4))
    for z in (0, 3):  # planes 1 and 2 were refused by the tap: label and counter jump together
        rig.send([PlaneIndex(z=z)], sequence_id=1, camera_count=z)
    rig.assembler.take(SequenceEnded(1, 4, 4))
    (volume,) = rig.end(n_refused=2)
    assert (volume.state, volume.integrity.missing) == ("confirmed", (1, 2))


def test_a_frame_of_the_wrong_shape_still_counts_for_the_camera():
    rig = Rig(make_plan(n_t=1, n_z=3))
    rig.send([PlaneIndex(z=0)], sequence_id=1, camera_count=0)
    rig.send([PlaneIndex(z=1)], sequence_id=1, camera_count=1, pixels=rig.frame(PlaneIndex()).pixels[:2])
    assert changes(rig.send([PlaneIndex(z=2)], sequence_id=1, camera_count=2)) == []


def test_a_volume_of_two_sequences_waits_for_both():
    rig = Rig(make_plan(n_t=1, n_z=2))
    rig.send([PlaneIndex(z=0)], sequence_id=1)
    rig.send([PlaneIndex(z=1)], sequence_id=2)
    assert changes(rig.assembler.take(SequenceEnded(1, 1, 1))) == []
    assert changes(rig.assembler.take(SequenceEnded(2, 1, 1))) == [(0, "confirmed")]


def test_one_bad_sequence_of_two_is_enough_and_says_it_once():
    rig = Rig(make_plan(n_t=1, n_z=2))
    rig.send([PlaneIndex(z=0)], sequence_id=1)
    rig.send([PlaneIndex(z=1)], sequence_id=2)
    assert changes(rig.assembler.take(SequenceEnded(1, 1, 0))) == [(0, "suspect")]
    assert changes(rig.assembler.take(SequenceEnded(2, 1, 0))) == []
    assert rig.assembler.counts.suspect_volumes == 1


def test_a_volume_that_closes_after_its_sequence_takes_the_sequences_verdict():
    rig = Rig(make_plan(n_t=2, n_z=2))
    rig.send([PlaneIndex(t=0, z=0)], sequence_id=1)
    rig.send([PlaneIndex(t=1, z=0)], sequence_id=2)
    rig.assembler.take(SequenceEnded(1, 1, 1))
    rig.assembler.take(SequenceEnded(2, 1, 1, problem="overflow"))
    assert [volume.state for volume in volumes(rig.end()).values()] == ["confirmed", "suspect"]


def test_a_sequence_that_never_ended_leaves_its_volumes_suspect():
    rig = Rig(make_plan(n_t=2))
    rig.send(stack(0), sequence_id=1)
    assert changes(rig.end("aborted")) == [(0, "suspect")]
    assert rig.assembler.counts.provisional_volumes == 0
