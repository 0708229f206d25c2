"""What fails while a volume is recorded only means that the whole volume is restored; the first reason is kept."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from care_live.errors import OutOfMemoryError, RestoreError
from care_live.maps import Array, Head
from care_live.percentiles import Span, histogram
from care_live.planewise.tiles import FieldStream
from care_live.reasons import Choice, whole
from care_live.restore.in_flight import PlaneProgress
from care_live.restore.volume_stream import VolumeStream

SPAN = Span(100.0, 300.0)
RAW = np.random.default_rng(0).integers(90, 400, (4, 6, 8), dtype=np.uint16)


class Network:
    """A stream that restores every plane at once, until it fails."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails, self.abandoned, self.n_restored = fails, False, 0

    def place(self, channel: int, z: int, pixels: np.ndarray) -> None:
        if self.fails is not None and z == 2:
            raise self.fails
        self.n_restored += 1

    def finish(self) -> None:
        if self.n_restored < len(RAW):
            raise RestoreError("planes are missing")

    def abandon(self) -> None:
        self.abandoned = True


class Volume:
    """A volume that is being recorded."""

    def __init__(self, network: Network) -> None:
        self.counts = np.zeros(2, np.int64)
        self.maps: dict[Head, Array] = {"mean": np.zeros((1, *RAW.shape), np.float32)}
        chosen = Choice("stream", "sooner")
        progress = PlaneProgress(self.counts)
        stream = cast(FieldStream, network)
        self.stream = VolumeStream(stream, [RAW], [SPAN], self.maps, choice=chosen, progress=progress)

    def record(self, n_planes: int = len(RAW)) -> None:
        for z in range(n_planes):
            self.stream.place(0, z)


def test_planes_are_counted_for_the_daemon_and_for_the_range() -> None:
    volume = Volume(Network())
    volume.record(3)
    assert tuple(volume.counts) == (3, 3)
    assert volume.stream.counts(len(RAW)) is None, "a plane is missing, so the range is not known"
    volume.record()
    (found,) = volume.stream.counts(len(RAW)) or ()
    np.testing.assert_array_equal(found, histogram(RAW))
    assert volume.stream.finish([SPAN], volume.maps)


@pytest.mark.parametrize(("error", "memory"), [(OutOfMemoryError("full"), True), (RestoreError("broken"), False)])
def test_what_fails_on_the_way_is_no_error_but_a_reason(error: Exception, memory: bool) -> None:
    network = Network(error)
    volume = Volume(network)
    volume.record()
    assert network.abandoned
    assert (volume.stream.choice.kind, volume.stream.out_of_memory) == ("whole", memory)
    assert tuple(volume.counts) == (4, 0), "planes are taken in all the same; none is shown"
    assert not volume.stream.finish([SPAN], volume.maps)


def test_another_range_in_the_end_is_another_result() -> None:
    volume = Volume(Network())
    volume.record()
    assert not volume.stream.finish([Span(100.0, 301.0)], volume.maps)
    assert volume.stream.choice == whole("range-changed")


def test_the_first_reason_is_kept() -> None:
    volume = Volume(Network())
    volume.stream.abandon(whole("overtaken"))
    volume.stream.abandon(whole("stored"))
    assert volume.stream.choice == whole("overtaken")


def test_a_volume_whose_planes_lack_is_restored_as_a_whole() -> None:
    volume = Volume(Network())
    volume.record(3)
    assert not volume.stream.finish([SPAN], volume.maps)
    assert volume.stream.choice.kind == "whole"
