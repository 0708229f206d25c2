"""A time point that another machine restores: what is sent once, and what must have come back."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.errors import ProtocolError
from care_live.images import VolumeKey
from care_live.maps import Head
from care_live.worker import protocol
from care_live.worker.remote_protocol import MapPlanes
from care_live.worker.remote_volume import RemoteVolume
from care_live.worker.shared_memory import Pool, SegmentView, aligned_bytes

KEY, SHAPE = VolumeKey(0), (4, 6, 8)
HEADS: tuple[Head, ...] = ("mean", "laplace_scale")


class Shared:
    """The daemon's memory of one volume with two maps, and the order that names it."""

    def __init__(self) -> None:
        n_bytes = aligned_bytes(SHAPE, np.uint16) + 2 * aligned_bytes((1, *SHAPE), np.float32)
        lease = Pool().take(n_bytes + aligned_bytes((2,), np.int64))
        self.raw, raw = lease.array(SHAPE, np.uint16)
        self.raw[:] = np.arange(4).reshape(4, 1, 1)
        maps = {head: lease.array((1, *SHAPE), np.float32) for head in HEADS}
        self.maps = {head: array for head, (array, _) in maps.items()}
        self.counts, counts = lease.array((2,), np.int64)
        self.counts[:] = 0
        results = {head: address for head, (_, address) in maps.items()}
        self.volume = RemoteVolume(protocol.Begin(KEY, (raw,), counts, results, (), 0.1), SegmentView())

    def receive(self, head: Head, z: int, planes: np.ndarray) -> None:
        self.volume.take(MapPlanes(1, KEY, head, 0, z), memoryview(np.ascontiguousarray(planes, "<f4")).cast("B"))


def test_each_plane_is_sent_once() -> None:
    shared = Shared()
    assert [int(plane[0, 0]) for plane in shared.volume.copies([(0, 1), (0, 2)])] == [1, 2]
    rest = [(channel, z, len(planes)) for channel, z, planes in shared.volume.rest()]
    assert rest == [(0, 0, 1), (0, 3, 1)]


def test_a_plane_counts_when_all_of_its_maps_have_come() -> None:
    shared = Shared()
    shared.receive("mean", 0, np.full((2, 6, 8), 5))
    shared.volume.note(3, 2, HEADS)
    assert tuple(shared.counts) == (3, 0)
    shared.receive("laplace_scale", 0, np.full((1, 6, 8), 1))
    shared.volume.note(3, 2, HEADS)
    assert tuple(shared.counts) == (3, 1)
    assert (shared.maps["mean"][0, :2] == 5).all() and not shared.maps["mean"][0, 2:].any()


def test_planes_beyond_the_volume_or_of_another_map_are_refused() -> None:
    shared = Shared()
    with pytest.raises(ProtocolError, match="from z=3 on"):
        shared.receive("mean", 3, np.zeros((2, 6, 8)))
    with pytest.raises(ProtocolError, match="which were not asked for"):
        shared.receive("disagreement", 0, np.zeros((1, 6, 8)))


def test_an_answer_without_all_its_planes_is_refused() -> None:
    shared = Shared()
    done = protocol.Done((None,), (("mean",),), {}, None)  # type: ignore[arg-type]
    shared.receive("mean", 0, np.zeros((3, 6, 8)))
    with pytest.raises(ProtocolError, match="not all planes of mean 0 have come"):
        shared.volume.check(done)
    shared.receive("mean", 3, np.zeros((1, 6, 8)))
    shared.volume.check(done)
