"""Arrays on the wire: what they mean behind it is what was sent, and what cannot travel is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from care_live.errors import ProtocolError
from care_live.wire import arrays
from tests.make import messages

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)


COUNTS = hnp.arrays(st.sampled_from([np.uint8, np.uint16]), SHAPES)


FLOATS = hnp.arrays(np.float32, SHAPES, elements=st.floats(0, 65504, width=32))


@drawn(COUNTS, st.sampled_from(["none", "blosc2"]))
def test_counts_arrive_as_they_were(sent: np.ndarray, codec: arrays.ArrayCodec) -> None:
    header, buffer = arrays.encode("raw", sent, voxel_size_um=messages.VOXEL_UM, codec=codec)
    np.testing.assert_array_equal(arrays.values(header, arrays.decode(header, buffer)), sent)


@drawn(FLOATS, st.sampled_from(["mean", "laplace_scale", "disagreement"]), st.sampled_from(["none", "blosc2"]))
def test_plain_floats_arrive_bit_for_bit(sent: np.ndarray, product: arrays.Product, codec: arrays.ArrayCodec) -> None:
    header, buffer = arrays.encode(product, sent, voxel_size_um=messages.VOXEL_UM, codec=codec)
    np.testing.assert_array_equal(arrays.values(header, arrays.decode(header, buffer)), sent)


@drawn(FLOATS)
def test_a_quantised_mean_is_within_a_step(sent: np.ndarray) -> None:
    header, buffer = arrays.encode("mean", sent, voxel_size_um=messages.VOXEL_UM, quantised=True)
    assert header.nbytes == 2 * sent.size
    got = arrays.values(header, arrays.decode(header, buffer))
    assert np.abs(got - sent).max() <= header.step + 1e-6 * float(sent.max())


@drawn(hnp.arrays(np.float32, SHAPES, elements=st.floats(np.float32(0.01), 600, width=32)))
def test_a_quantised_scale_is_within_2_point_6_percent(sent: np.ndarray) -> None:
    header, buffer = arrays.encode("laplace_scale", sent, voxel_size_um=messages.VOXEL_UM, quantised=True)
    assert header.nbytes == sent.size
    got = arrays.values(header, arrays.decode(header, buffer))
    assert np.abs(got / sent - 1).max() <= 0.026


@pytest.mark.parametrize("quantised", [False, True])
def test_an_infinite_scale_stays_infinite_and_no_infinity_travels(quantised: bool) -> None:
    sent = messages.SCALE.copy()
    sent[1, 2, 3] = np.inf
    header, buffer = arrays.encode("laplace_scale", sent, voxel_size_um=messages.VOXEL_UM, quantised=quantised)
    codes = arrays.decode(header, buffer)
    assert np.isfinite(codes).all()
    np.testing.assert_array_equal(np.isinf(arrays.values(header, codes)), np.isinf(sent))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_not_sent(bad: float) -> None:
    sent = messages.MEAN.copy()
    sent[0, 1, 2] = bad
    with pytest.raises(ProtocolError, match="never travel"):
        arrays.encode("mean", sent, voxel_size_um=messages.VOXEL_UM)


def test_without_blosc2_arrays_travel_unpacked_and_packed_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = arrays.encode("mean", np.ones((2, 3, 4), np.float32), voxel_size_um=messages.VOXEL_UM, codec="blosc2")
    monkeypatch.setitem(sys.modules, "blosc2", None)
    header, buffer = arrays.encode(
        "mean", np.ones((2, 3, 4), np.float32), voxel_size_um=messages.VOXEL_UM, codec="blosc2"
    )
    assert header.codec == "none"
    np.testing.assert_array_equal(arrays.decode(header, buffer), np.ones((2, 3, 4)))
    with pytest.raises(ProtocolError, match="pip install"):
        arrays.decode(*packed)
