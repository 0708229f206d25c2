"""Memory at a remote worker's end: filled by messages, and sent back plane by plane, each as it is in the end."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.errors import ProtocolError
from care_live.images import VolumeKey
from care_live.maps import Head
from care_live.percentiles import Span
from care_live.worker import protocol
from care_live.worker.remote_buffers import RemoteBuffers
from care_live.worker.shared_memory import ArrayAddress, Pool, SegmentName, SegmentView

KEY, SHAPE = VolumeKey(0), (4, 6, 8)
HEADS: tuple[Head, ...] = ("mean", "laplace_scale")


def address(shape: tuple[int, ...], dtype: str) -> ArrayAddress:
    """Return where an array lies in the daemon's memory, which this machine does not see."""
    return ArrayAddress(SegmentName(0, "of the daemon", 1), 0, shape, dtype)


class There:
    """The memory of one order, as a worker has it, and as its inference sees it."""

    def __init__(self) -> None:
        results = {head: address((1, *SHAPE), "<f4") for head in HEADS}
        counts = address((2,), "<i8")
        asked = protocol.Begin(KEY, (address(SHAPE, "<u2"),), counts, results, (Span(0.0, 1.0),), 0.1)
        self.pool = Pool()
        self.buffers = RemoteBuffers(self.pool, asked)
        here, view = self.buffers.in_here(asked), SegmentView()
        assert here.key == KEY and here.pixels[0].segment.path != "of the daemon"
        self.pixels = view.array(here.pixels[0])
        self.maps = {head: view.array(one) for head, one in here.results.items()}
        self.progress = view.array(here.progress)

    def restored(self) -> list[tuple[Head, int, int]]:
        """Return head, first plane and number of planes of each run that became final."""
        return [(head, z, len(planes)) for head, _, z, planes in self.buffers.restored(HEADS)]


def test_it_is_full_when_every_plane_has_come() -> None:
    there = There()
    raw = np.arange(4 * 48, dtype="<u2").reshape(SHAPE)
    there.buffers.place(0, 2, memoryview(raw[2:]).cast("B"))
    assert not there.buffers.is_full
    there.buffers.place(0, 0, memoryview(raw[:2]).cast("B"))
    assert there.buffers.is_full
    np.testing.assert_array_equal(there.pixels, raw)


@pytest.mark.parametrize(("channel", "z", "n_planes"), [(1, 0, 1), (0, 3, 2), (0, 0, 0.5)])
def test_planes_without_a_place_are_refused(channel: int, z: int, n_planes: float) -> None:
    with pytest.raises(ProtocolError, match=f"came as planes of channel {channel} from z={z} on"):
        There().buffers.place(channel, z, memoryview(bytes(int(n_planes * 6 * 8 * 2))))


def test_planes_are_sent_when_they_are_final_and_again_where_they_were_mended() -> None:
    there = There()
    for array in there.maps.values():
        array[...] = np.arange(4).reshape(4, 1, 1)
    there.progress[:] = (3, 2)
    assert there.restored() == [("mean", 0, 2), ("laplace_scale", 0, 2)]
    assert there.restored() == [], "each once"
    there.maps["mean"][0, 1] = 9.0
    done = protocol.Done((), ((*HEADS,),), {}, None)  # type: ignore[arg-type]
    rest = [(head, z, len(planes)) for head, _, z, planes in there.buffers.rest(done)]
    mended = [("mean", 1, 1), ("mean", 2, 1), ("mean", 3, 1)]
    assert rest == [*mended, ("laplace_scale", 2, 1), ("laplace_scale", 3, 1)]
