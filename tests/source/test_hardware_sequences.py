"""Hardware sequences: whole, short, doubled, jumped; announced by a hook or named by the core's tags."""

from __future__ import annotations

import pytest

from care_live.errors import FrameError
from care_live.images import PlaneIndex, SequenceEnded
from care_live.source.hardware_sequences import SequenceWatch

STACK = [PlaneIndex(t=0, z=z) for z in range(4)]
NEXT = [PlaneIndex(t=1, z=z) for z in range(4)]


def test_a_whole_announced_sequence_ends_with_its_last_frame() -> None:
    watch = SequenceWatch()
    watch.announce({"": STACK})
    watch.announce({"": NEXT})  # the engine is ahead of the frames
    for index in STACK:
        assert watch.complete() == []
        assert watch.take(index) == (index, 0, [], False)
    assert watch.complete() == [SequenceEnded(0, 4, 4)]
    assert watch.take(NEXT[0]) == (NEXT[0], 1, [], False)


def test_a_short_sequence_ends_when_the_next_begins() -> None:
    watch = SequenceWatch()
    watch.announce({"": STACK})
    watch.announce({"": NEXT})
    for index in STACK[:3]:
        watch.take(index)
    assert watch.take(NEXT[0]) == (NEXT[0], 1, [SequenceEnded(0, 4, 3, "3 of 4 frames came")], False)


def test_the_end_of_the_run_ends_what_is_open_with_the_engines_complaint() -> None:
    watch = SequenceWatch()
    watch.announce({"": STACK})
    watch.take(STACK[0])
    (ended,) = watch.close("Expected images did not arrive in circular buffer")
    assert (ended.n_expected, ended.n_received) == (4, 1)
    assert ended.problem == "Expected images did not arrive in circular buffer; 1 of 4 frames came"
    assert watch.close() == []


def test_the_cameras_own_counter_betrays_lost_and_doubled_frames() -> None:
    for counts, says in {
        (7, 8, 10, 11): "jumped from 8 to 10 at frame 2",
        (7, 8, 8, 9): "sent the same frame again at frame 2",
        (7, 8, 9, 10): None,
    }.items():
        watch = SequenceWatch()
        watch.announce({"": STACK})
        for index, count in zip(STACK, counts, strict=True):
            watch.take(index, camera_count=count)
        (ended,) = watch.complete()
        assert (ended.problem is None) if says is None else (says in str(ended.problem))


def test_snapped_frames_belong_to_no_sequence() -> None:
    watch = SequenceWatch(STACK)
    assert watch.take(STACK[0]) == (STACK[0], None, [], False)
    assert watch.close() == []


def test_a_snapped_frame_that_is_the_one_before_is_of_no_use() -> None:
    watch = SequenceWatch(STACK)
    watch.take(STACK[0], camera_count=5)
    assert watch.take(STACK[1], camera_count=5).is_stale
    assert not watch.take(STACK[2], camera_count=7).is_stale
    assert not watch.take(STACK[3], camera_count=7, camera="another").is_stale


def test_without_a_hook_the_cores_image_numbers_tell() -> None:
    watch = SequenceWatch(STACK + NEXT)
    assert [watch.take(index, image_number=z).sequence_id for z, index in enumerate(STACK)] == [0, 0, 0, 0]
    assert watch.take(NEXT[0], image_number=0).ended == [SequenceEnded(0, 4, 4)]
    watch.take(NEXT[1], image_number=1)
    assert watch.close() == [SequenceEnded(1, 4, 2, "2 of 4 frames came")]


def test_without_a_hook_a_shortfall_shows_against_the_plan() -> None:
    watch = SequenceWatch(STACK + NEXT)
    for z in range(3):
        watch.take(STACK[z], image_number=z)
    assert watch.take(NEXT[0], image_number=0).ended == [SequenceEnded(0, 4, 3, "3 of 4 frames came")]


BOTH = {"A": [PlaneIndex(z=z) for z in range(4)], "B": [PlaneIndex(c=1, z=z) for z in range(4)]}
"""One stack of two cameras."""


def dealt_out(frames: str) -> list[tuple[str, int, PlaneIndex]]:
    """Return camera, its own count and the engine's label of frames that the engine counts over both cameras."""
    counts = {"A": 0, "B": 0}
    labelled = []
    for place, camera in enumerate(frames):
        labelled.append((camera, counts[camera], BOTH[camera][place // 2]))
        counts[camera] += 1
    return labelled


@pytest.mark.parametrize("frames", ["ABABABAB", "AABBAABB", "ABAABBAB", "AAAABBBB", "BBBABAAA"])
def test_each_cameras_own_count_says_which_plane_came(frames: str) -> None:
    """Micro-Manager's Java engine deals out heights over both cameras; once one camera had z=1 twice."""
    watch = SequenceWatch()
    watch.announce(BOTH)
    came = [watch.take(label, camera=camera, image_number=n) for camera, n, label in dealt_out(frames)]
    for camera, planes in BOTH.items():
        assert [one.plane for one, of in zip(came, frames, strict=True) if of == camera] == planes
    assert watch.complete() == [SequenceEnded(0, 8, 8)]


def test_a_frame_that_one_of_two_cameras_lost_makes_the_sequence_suspect() -> None:
    watch = SequenceWatch()
    watch.announce(BOTH)
    for camera, n, label in dealt_out("ABABAB"):
        watch.take(label, camera=camera, image_number=n + (camera == "B" and n > 0))
    (ended,) = watch.close()
    assert "camera 'B' counts frame 2 where 1 came before" in str(ended.problem)
    assert "6 of 8 frames came" in str(ended.problem)


def test_more_frames_than_a_camera_was_to_give_have_no_place() -> None:
    watch = SequenceWatch()
    watch.announce(BOTH)
    for index in BOTH["A"]:
        watch.take(index, camera="A")
    with pytest.raises(FrameError, match="more than the 4 frames"):
        watch.take(BOTH["A"][3], camera="A")


@pytest.mark.parametrize(("frames", "is_whole"), [("ABABABAB", True), ("BABABABA", True), ("ABAABBAB", False)])
def test_without_a_hook_a_label_that_a_camera_has_twice_makes_the_sequence_suspect(frames: str, is_whole: bool) -> None:
    watch = SequenceWatch([planes[z] for z in range(4) for planes in BOTH.values()], n_cameras=2)
    for camera, n, label in dealt_out(frames):
        watch.take(label, camera=camera, image_number=n)
    (ended,) = watch.close()
    assert (ended.n_expected, ended.n_received) == (8, 8)
    assert (ended.problem is None) is is_whole
    if not is_whole:
        assert "twice in a row" in str(ended.problem)
