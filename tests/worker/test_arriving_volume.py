"""A time point is complete where inference sees it once every plane of every channel is in place."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from care_live.images import VolumeKey
from care_live.percentiles import Span
from care_live.restore.channel_choice import ChannelGroup
from care_live.worker.arriving_volume import ArrivingVolume
from care_live.worker.buffers import SharedVolume
from tests.make.records import volume

PIXELS = np.zeros((2, 3, 4), np.uint16)
BOTH = [volume(PIXELS, VolumeKey(0, 0, c)) for c in (3, 1)]


@pytest.fixture
def arriving() -> ArrivingVolume:
    group = ChannelGroup(0, (3, 1))
    none, read = cast(SharedVolume, None), tuple(one.key for one in BOTH)
    return ArrivingVolume(none, group, {3: Span(1, 2), 1: None}, {3: (0, 1), 1: (0, 1)}, begun=True, read=read)


def test_the_last_plane_makes_it_complete(arriving: ArrivingVolume) -> None:
    arriving.placed |= {(0, 0), (0, 1), (1, 0)}
    assert not arriving.is_complete(BOTH)
    arriving.placed.add((1, 1))
    assert arriving.is_complete(BOTH)


def test_with_a_lost_plane_or_another_order_of_channels_it_is_laid_out_anew(arriving: ArrivingVolume) -> None:
    arriving.placed |= {(i, z) for i in range(2) for z in range(2)}
    assert not arriving.is_complete([BOTH[0], volume(PIXELS, VolumeKey(0, 0, 1), missing=[1])])
    assert not arriving.is_complete(BOTH[::-1])


def test_another_past_than_the_one_in_place_is_laid_out_anew(arriving: ArrivingVolume) -> None:
    earlier = [volume(PIXELS, VolumeKey(-1, 0, c)) for c in (3, 1)]
    arriving.placed |= {(i, z) for i in range(4) for z in range(2)}
    arriving.read += tuple(one.key for one in earlier)
    assert arriving.is_complete([*BOTH, *earlier])
    assert not arriving.is_complete([*BOTH, *BOTH])
    assert not arriving.is_complete(BOTH)


def test_spans_that_are_not_known_yet_are_left_out(arriving: ArrivingVolume) -> None:
    assert arriving.known_spans == {3: Span(1, 2)}
