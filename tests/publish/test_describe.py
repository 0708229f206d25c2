"""From records to messages and back."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace

from care_live.images import VolumeKey
from care_live.publish import describe
from care_live.publish.delivery import of_planes, of_volume
from care_live.reasons import Choice, streamed, whole
from care_live.wire import arrays, cl1
from care_live.wire import messages as wire
from care_live.wire.messages import View
from tests.make import messages, records, samples


@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("shape", [(3, 64, 48), (2, 17, 33), (1, 1, 1), (2, 3, 5)])
def test_levels_shrink_rows_and_columns_and_never_look_surer(level: int, shape: tuple[int, int, int]) -> None:
    scale = np.random.default_rng(0).random(shape, np.float32)
    shrunk = describe.downsample("laplace_scale", scale, level)
    assert shrunk.shape == (shape[0], max(1, shape[1] >> level), max(1, shape[2] >> level))
    assert shrunk.max() <= scale.max() and shrunk.min() >= scale.min()
    flat = describe.downsample("raw", np.full(shape, 777, np.uint16), level)
    assert flat.dtype == np.uint16 and (flat == 777).all()


def test_a_region_is_clipped_to_the_volume() -> None:
    volume = np.arange(4 * 6 * 8, dtype=np.float32).reshape(4, 6, 8)
    looked = describe.look("mean", volume, View(origin_px=(1, 2, 7), shape_px=(2, 100, 5)))
    assert looked is not None and looked[1] == (1, 2, 7)
    np.testing.assert_array_equal(looked[0], volume[1:3, 2:, 7:])


@pytest.mark.parametrize("origin", [(4, 0, 0), (0, 6, 0), (0, 0, 8), (9, 9, 9)])
def test_a_region_behind_the_last_voxel_is_left_out(origin: tuple[int, int, int]) -> None:
    sent = samples.restored(0, shape=(4, 6, 8))
    headers, buffers = describe.pictures(sent, View(origin_px=origin))
    assert (headers, buffers) == ((), [])
    assert describe.look("mean", sent.mean, View(origin_px=(0, 3, 0), level=1)) is None


@settings(deadline=None)
@drawn(
    st.integers(0, 4),
    st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 40)),
    st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(["raw", "mean", "laplace_scale"]),
)
def test_a_region_is_the_same_cut_before_or_after_shrinking(
    level: int, origin: tuple[int, int, int], shape: tuple[int, int, int], product: arrays.Product
) -> None:
    counts = np.random.default_rng(1).integers(0, 65535, (3, 37, 70), dtype=np.uint16)
    volume = counts if product == "raw" else counts.astype(np.float32)
    whole = describe.downsample(product, volume, level)
    looked = describe.look(product, volume, View(origin_px=origin, shape_px=shape, level=level))
    z, y, x = origin
    expected = whole[z : z + shape[0], y : y + shape[1], x : x + shape[2]]
    assert (looked is None) == (expected.size == 0)
    if looked is not None:
        np.testing.assert_array_equal(looked[0], expected)


@pytest.mark.parametrize(
    ("view", "level", "part"),
    [
        (View(also=("evidence",)), 1, np.s_[:, :, :]),
        (View(also=("evidence",), level=1), 1, np.s_[:, :, :]),
        (View(also=("evidence",), origin_px=(1, 3, 4), shape_px=(2, 2, 3)), 1, np.s_[1:3, 1:3, 2:4]),
        (View(also=("evidence",), level=1, origin_px=(0, 1, 1), shape_px=(1, 2, 2)), 1, np.s_[:1, 1:3, 1:3]),
    ],
)
def test_a_coarser_map_says_its_own_level_and_is_cut_where_the_region_is(view: View, level: int, part: Any) -> None:
    sent = samples.restored(0, shape=(4, 6, 8))
    coarse = np.arange(48, dtype=np.float32).reshape(4, 3, 4) / 8
    sent = replace(sent, maps={**sent.maps, "evidence": coarse})
    headers, buffers = describe.pictures(sent, view)
    (at,) = (n for n, header in enumerate(headers) if header.product == "evidence")
    header = headers[at]
    assert (header.level, header.dtype, header.origin_px) == (level, "|u1", tuple(one.start or 0 for one in part))
    mean = next(one for one in headers if one.product == "mean")
    assert header.voxel_size_um[1] == mean.voxel_size_um[1] * 2 ** (level - mean.level)
    np.testing.assert_array_equal(arrays.values(header, arrays.decode(header, buffers[at])), coarse[part])


@pytest.mark.parametrize("level", range(1, 5))
def test_a_level_is_the_mean_of_blocks_and_the_largest_of_scales(level: int) -> None:
    counts = np.random.default_rng(2).integers(0, 65535, (2, 33, 48), dtype=np.uint16)
    side = 2**level
    blocks = counts[:, : 33 // side * side].reshape(2, 33 // side, side, 48 // side, side)
    np.testing.assert_array_equal(
        describe.downsample("raw", counts, level), np.rint(blocks.mean(axis=(2, 4))).astype(np.uint16)
    )
    floats = describe.downsample("mean", counts.astype(np.float32), level)
    np.testing.assert_allclose(floats, blocks.mean(axis=(2, 4)), rtol=1e-6)
    np.testing.assert_array_equal(
        describe.downsample("disagreement", counts.astype(np.float32), level), blocks.max(axis=(2, 4))
    )


def test_values_from_the_store_say_how_many_bits_they_keep() -> None:
    stored = replace(samples.restored(0), mantissa_bits=10)
    assert describe.volume_fields(stored, "confirmed")["mantissa_bits"] == 10
    assert describe.volume_fields(samples.restored(0), "confirmed")["mantissa_bits"] is msgspec.UNSET


@pytest.mark.parametrize(
    "choice",
    [None, streamed("sooner", streamed_ms=22.5, whole_ms=24.0), whole("operator", "Softmax")],
    ids=["not-known", "streamed", "whole"],
)
def test_why_a_volume_was_streamed_reaches_every_watcher(choice: Choice | None) -> None:
    made = replace(samples.restored(0), choice=choice)
    fields = describe.volume_fields(made, "confirmed")
    message, buffers = messages.volume()
    sent = msgspec.structs.replace(message, choice=fields["choice"])
    live = of_volume(*cl1.decode(cl1.encode(sent, buffers)), age_s=0.1, n_skipped=0)
    assert live.choice == choice
    assert live.restored.choice == choice


def test_a_long_detail_is_cut_and_a_newer_reason_is_kept() -> None:
    made = replace(samples.restored(0), choice=Choice("whole", "moon-phase", {}, "x" * 5000))
    sent = describe.volume_fields(made, "confirmed")["choice"]
    assert (sent.reason, len(sent.detail)) == ("moon-phase", 1000)


def test_a_coarser_level_of_a_signed_map_keeps_what_is_farthest_from_0() -> None:
    volume = np.zeros((1, 4, 4), np.float32)
    volume[0, 0, 0], volume[0, 1, 1], volume[0, 2, 3], volume[0, 3, 3] = 3, -5, 4, -2
    np.testing.assert_array_equal(describe.downsample("evidence", volume, 1), [[[-5, 0], [0, 4]]])


def test_planes_come_back_from_their_message_with_their_place_and_their_own_network() -> None:
    """Another network may have taken over since the run's first one, which is in what is sent with every message."""
    planes = {"mean": np.random.default_rng(0).random((2, 6, 8), np.float32)}
    slab = records.planes(VolumeKey(3, 1), planes, slice(4, 6), 32)
    sent = {"run": "run", "session": "a" * 16, "model": wire.Model(name="first", sha256="0" * 64)}
    message, buffers = describe.slab_message(slab, View(), **sent, published_us=7)
    assert (message.run, message.session, message.published_us) == ("run", "a" * 16, 7)
    assert [header.origin_px for header in message.arrays] == [(4, 0, 0)]
    decoded, codes = cl1.decode([memoryview(part) for part in cl1.encode(message, buffers)])
    assert isinstance(decoded, wire.Slab)
    came = of_planes(decoded, codes).restored
    assert came is not None
    assert (came.key, came.z, came.n_planes, came.model) == (slab.key, slab.z, 32, slab.model)
    np.testing.assert_array_equal(came.maps["mean"], planes["mean"])
