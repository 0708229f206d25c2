"""The planes of one volume: where they lie, what is noted of them, and what the closed volume says."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.assemble.stacks import ClosedVolumes, PlannedPlanes, Stack, UnplannedPlanes
from care_live.assemble.volume_memory import VolumeMemory
from care_live.images import Frame, Plan, PlaneIndex, VolumeKey

PLAN = Plan({VolumeKey(0): (2, 5, 9)}, (2, 3))


def plane(z: int) -> np.ndarray:
    return np.full((2, 3), z, np.uint16)


def frame(z: int, host_time_ns: int, **about: object) -> Frame:
    return Frame("run", 0, PlaneIndex(z=z), plane(z), host_time_ns, **about)  # type: ignore[arg-type]


def test_planned_planes_have_their_rows_and_those_that_never_come_are_zero() -> None:
    planes = PlannedPlanes((2, 5, 9), PLAN, VolumeMemory(0))
    planes.put(9, plane(9))
    planes.put(2, plane(2))
    assert planes.whole()[:, 0, 0].tolist() == [2, 0, 9]


def test_planes_that_never_come_are_zero_also_where_the_memory_was_another_volume_s() -> None:
    memory = VolumeMemory(1024)
    first = PlannedPlanes((2, 5, 9), PLAN, memory)
    for z in (2, 5, 9):
        first.put(z, plane(z))
    del first
    assert memory.idle_bytes == 36
    second = PlannedPlanes((2, 5, 9), PLAN, memory)
    assert memory.idle_bytes == 0
    second.put(5, plane(5))
    assert second.whole()[:, 0, 0].tolist() == [0, 5, 0]


def test_planes_without_a_plan_lie_in_the_order_of_z() -> None:
    planes, sent = UnplannedPlanes(PLAN), plane(4)
    planes.put(4, sent)
    planes.grown().put(1, plane(1))
    sent[:] = 0
    assert planes.whole()[:, 0, 0].tolist() == [1, 4], "a plane is copied"
    assert planes.nbytes == 2 * sent.nbytes


def test_a_volume_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        PlannedPlanes((2, 5, 9), PLAN, VolumeMemory(0)).whole()[0, 0, 0] = 1


def test_the_closed_volume_says_how_its_planes_came() -> None:
    stack = Stack(VolumeKey(0), (2, 5, 9), PlannedPlanes((2, 5, 9), PLAN, VolumeMemory(0)), touched_ns=0)
    for one in (frame(5, 1_000_000), frame(2, 9_000_000, sequence_id=3), frame(9, 4_000_000, exposure_ms=7.5)):
        assert stack.planes is not None
        assert not stack.complete
        stack.planes.put(one.index.z, one.pixels)
        stack.note(one, acquired_us=one.host_time_ns // 1000)
    assert stack.complete
    volume = stack.close("run", PLAN, closed="complete", state="provisional")
    assert volume.integrity.missing == ()
    assert (volume.integrity.n_out_of_order, volume.integrity.sequence_ids) == (1, (3,))
    assert volume.integrity.worst_gap_ms == 8.0
    assert (volume.first_plane_ns, volume.last_plane_ns, volume.acquired_us) == (1_000_000, 9_000_000, 9_000)
    assert (volume.exposure_ms, volume.state, volume.voxel_size_um) == (7.5, "provisional", PLAN.voxel_size_um)


def test_what_closed_volumes_lacked_is_kept() -> None:
    closed = ClosedVolumes()
    closed.add(VolumeKey(1), frozenset({4}))
    closed.add(VolumeKey(2), frozenset())
    assert VolumeKey(1) in closed and VolumeKey(2) in closed and VolumeKey(3) not in closed
    assert [closed.lacked(VolumeKey(t), 4) for t in (1, 2, 3)] == [True, False, False]
