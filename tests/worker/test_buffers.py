"""Shared memory as records: restored planes while they come, and the results of a whole time point."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.images import ModelIdentity, Restored, RestoredHead, Volume, VolumeKey
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.reasons import streamed
from care_live.restore.channel_choice import ChannelGroup
from care_live.restore.result_maps import ResultMaps
from care_live.wire.codec import record_of
from care_live.worker import protocol
from care_live.worker.buffers import SharedVolume, lay_out, planes_of
from care_live.worker.shared_memory import Pool
from tests.make import records

SHAPE = (4, 6, 8)
SPANS = {0: Span(10.0, 20.0), 1: Span(30.0, 40.0)}
CARD = ModelCard(
    name="net",
    channels_in=("GFP", "RFP"),
    channels_out=("GFP", "RFP"),
    divisor=(1, 1, 1),
    halo_px=(0, 0, 0),
    heads=("mean", "laplace_scale"),
)


def volumes() -> list[Volume]:
    return [records.volume(np.full(SHAPE, 7 + c, np.uint16), VolumeKey(2, 1, c)) for c in (0, 1)]


@pytest.fixture
def shared() -> SharedVolume:
    laid = lay_out(Pool(), ResultMaps(CARD, with_evidence=False), volumes())
    for c in (0, 1):
        laid.maps["mean"][c], laid.maps["laplace_scale"][c] = c + 1.0, 0.5
    return laid


def begun() -> Restored:
    return records.planes(VolumeKey(2, 1, 0), {}, slice(1, 3), 0)


def test_a_time_point_is_copied_channel_by_channel(shared: SharedVolume) -> None:
    assert [int(pixels.mean()) for pixels in shared.pixels] == [7, 8]


def test_planes_have_the_channel_and_the_range_of_their_output(shared: SharedVolume) -> None:
    found = list(planes_of(begun(), SPANS, shared, ChannelGroup(0, (0, 1))))
    assert [(one.key, one.low, one.high, one.n_planes) for one in found] == [
        (VolumeKey(2, 1, 0), 10.0, 20.0, 4),
        (VolumeKey(2, 1, 1), 30.0, 40.0, 4),
    ]
    assert all(one.mean.shape == (2, 6, 8) for one in found)
    assert [float(one.mean.max()) for one in found] == [1.0, 2.0]


def test_of_an_output_without_a_number_no_plane_is_shown(shared: SharedVolume) -> None:
    shared.maps["mean"][1, 2, 0, 0] = np.nan
    assert [one.key.c for one in planes_of(begun(), SPANS, shared, ChannelGroup(0, (0, 1)))] == [0]


def test_a_result_belongs_to_the_volume_of_its_channel(shared: SharedVolume) -> None:
    heads = tuple(record_of(RestoredHead, restored(c)) for c in (0, 1))
    done = protocol.Done(heads, (("mean",), ("mean", "laplace_scale")), {}, streamed("asked"))
    found = shared.results_of(volumes(), done)
    assert [one.volume.key.c for one in found] == [0, 1]
    assert [tuple(one.maps) for one in found] == [("mean",), ("mean", "laplace_scale")]
    assert not found[0].mean.flags.writeable


def restored(c: int) -> Restored:
    return records.restored(volumes()[c], model=ModelIdentity("net", "5e"))
