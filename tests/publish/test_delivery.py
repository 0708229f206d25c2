"""What a subscriber gets of a message: the record as it was published, in camera counts."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from care_live.images import VolumeKey
from care_live.publish import delivery
from care_live.wire import cl1
from tests.make import messages


def test_a_volume_is_raw_and_restored() -> None:
    message, buffers = messages.volume()
    came = delivery.of_volume(message, cl1.decode(cl1.encode(message, buffers))[1], 0.5, 3)
    assert came.is_whole
    assert (came.key, came.seq, came.age_s, came.n_skipped) == (VolumeKey(*message.key), message.seq, 0.5, 3)
    np.testing.assert_array_equal(came.raw, messages.RAW)
    np.testing.assert_array_equal(came.maps["mean"], messages.MEAN)
    assert came.voxel_size_um == messages.VOXEL_UM
    assert (came.state, came.run_id, came.limits) == (message.state, message.run, message.limits)


def test_a_raw_one_has_no_network_and_no_maps() -> None:
    message, buffers = messages.messages()["volume"]
    raw = msgspec.structs.replace(message, model=None, arrays=message.arrays[:1])  # type: ignore[union-attr]
    came = delivery.of_volume(raw, cl1.decode(cl1.encode(raw, buffers[:1]))[1], 0.0, 0)
    assert (came.restored, came.model, came.maps, came.is_whole) == (None, None, {}, True)


def test_planes_know_their_place_and_have_no_age_yet() -> None:
    message, buffers = messages.slab()
    came = delivery.of_planes(message, cl1.decode(cl1.encode(message, buffers))[1])
    assert not came.is_whole
    assert math.isnan(came.age_s)
    assert came.restored is not None
    n = len(came.restored.mean)
    assert (came.restored.z, came.restored.n_planes) == (
        slice(message.z_first, message.z_first + n),
        message.n_planes,
    )
    with pytest.raises(AssertionError, match="still being recorded"):
        came.header  # noqa: B018
