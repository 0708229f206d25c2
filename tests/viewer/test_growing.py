"""A volume that is still being restored is seen over the one before it, plane by plane, and never half a plane."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from care_live.images import Restored, VolumeKey, read_only
from care_live.viewer.auto_contrast import Windows
from care_live.viewer.live_cache import LiveCache
from care_live.viewer.view_records import SystemStatus, ViewedVolume
from care_live.viewer.volume_index import VolumeIndex
from care_live.viewer.web import cuts
from tests.make import records
from tests.make.scenes import but, scene

SHAPE = (6, 16, 24)


def slab(shown: ViewedVolume, first: int, last: int) -> Restored:
    """Return some planes of a volume as they come from the wire."""
    maps = {head: read_only(array[first:last]) for head, array in shown.maps.items()}
    return records.planes(shown.key, maps, slice(first, last), len(shown.maps["mean"]))


@pytest.fixture
def index() -> VolumeIndex:
    cache = LiveCache()
    cache.put(scene(0, shape=SHAPE))
    return VolumeIndex(cache)


def test_a_slab_that_announces_more_than_there_is_memory_is_left_out(index: VolumeIndex) -> None:
    index.cache.grow(msgspec.structs.replace(slab(scene(1, shape=SHAPE), 0, 2), n_planes=2_000_000))
    assert index.cache.growing() == ()


def test_planes_of_another_shape_or_beyond_the_end_are_left_out(index: VolumeIndex) -> None:
    new, other = scene(1, shape=SHAPE), scene(1, shape=(6, 16, 32))
    index.cache.grow(slab(new, 0, 2))
    index.cache.grow(slab(other, 2, 4))
    index.cache.grow(msgspec.structs.replace(slab(scene(1, shape=(16, 16, 24)), 2, 16), n_planes=6))
    assert index.cache.growing()[0].n_restored == 2
    index.cache.grow(slab(new, 2, 4))
    assert index.cache.growing()[0].n_restored == 4


def test_planes_come_from_the_first_on_and_the_rest_is_the_volume_before(index: VolumeIndex) -> None:
    old, new = index.at(0, 0)[0], scene(1, shape=SHAPE)
    index.cache.grow(slab(new, 0, 2))
    index.cache.grow(slab(new, 2, 3))
    (seen,) = index.following()
    assert (seen.key, seen.n_restored, seen.before, seen.state) == (new.key, 3, old, "provisional")
    composed = np.concatenate([new.maps["mean"][:3], old.maps["mean"][3:]])
    for product, plane, array in cuts.cut(seen, "ortho", (3, 5, 7)):
        if product == "mean":
            expected = {"xy": composed[3], "xz": composed[:, 5, :], "yz": composed[:, :, 7].T}[plane]
            np.testing.assert_array_equal(array, expected)
    found = {product: array for product, _, array in cuts.cut(seen, "max", (3, 5, 7))}
    np.testing.assert_array_equal(found["mean"], composed.max(0))
    np.testing.assert_array_equal(found["raw"], old.raw.max(0))
    (whole,) = (array for product, _, array in cuts.cut(seen, "volume", (3, 5, 7)) if product == "mean")
    np.testing.assert_array_equal(whole, composed)


def test_a_plane_on_the_screen_changes_once_when_it_is_restored(index: VolumeIndex) -> None:
    old, new = index.at(0, 0)[0], scene(1, shape=SHAPE)
    drawn = []
    for z in range(6):
        index.cache.grow(slab(new, z, z + 1))
        drawn += index.following(plane_only=True, z=2)
    assert drawn[0] is drawn[1] is old
    assert drawn[2].n_restored == 3 and drawn[2].key == new.key
    assert drawn[3] is drawn[4] is drawn[5] is drawn[2], "what is on the screen is not drawn again"
    index.cache.put(new)
    assert index.following(plane_only=True, z=2) == (new,)


def test_what_was_seen_never_changes(index: VolumeIndex) -> None:
    new = scene(1, shape=SHAPE)
    index.cache.grow(slab(new, 0, 2))
    (early,) = index.following()
    before = [array.copy() for array in early.parts("mean")]
    index.cache.grow(slab(new, 2, 6))
    for array, copy in zip(early.parts("mean"), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_lost_slab_ends_the_growth_and_the_volume_still_comes(index: VolumeIndex) -> None:
    new = scene(1, shape=SHAPE)
    index.cache.grow(slab(new, 0, 2))
    index.cache.grow(slab(new, 3, 4))
    assert index.following()[0].n_restored == 2
    index.cache.put(new)
    assert index.following() == (new,)


def test_who_comes_in_the_middle_of_a_volume_waits_for_the_whole_one(index: VolumeIndex) -> None:
    index.cache.grow(slab(scene(1, shape=SHAPE), 2, 3))
    assert index.following()[0].key.t == 0


def test_slabs_that_come_late_are_not_shown(index: VolumeIndex) -> None:
    index.cache.grow(slab(scene(0, shape=SHAPE), 0, 2))
    assert index.following()[0].n_restored is None


@pytest.mark.parametrize(
    "event",
    [
        lambda cache: cache.abandon(VolumeKey(1)),
        lambda cache: cache.report(SystemStatus(connected=False)),
        lambda cache: cache.end("aborted"),
        lambda cache: cache.put(scene(2, shape=SHAPE)),
    ],
    ids=["not-restored", "daemon-gone", "run-over", "newer-volume"],
)
def test_what_will_not_be_finished_goes_away(index: VolumeIndex, event) -> None:
    index.cache.grow(slab(scene(1, shape=SHAPE), 0, 2))
    assert index.cache.growing()
    event(index.cache)
    assert not index.cache.growing()
    assert index.following()[0].n_restored is None


def test_the_first_volume_of_a_run_grows_over_nothing() -> None:
    index, new = VolumeIndex(LiveCache()), scene(0, shape=SHAPE)
    index.cache.grow(slab(new, 0, 2))
    assert index.following(plane_only=True, z=4) == (), "that plane is still to come"
    (seen,) = index.following()
    assert [product for product, _, _ in cuts.cut(seen, "slice", (1, 0, 0))] == ["mean", "laplace_scale"]
    np.testing.assert_array_equal(cuts.cut(seen, "slice", (1, 0, 0))[0][2], new.maps["mean"][1])
    assert not cuts.cut(seen, "slice", (4, 0, 0))[0][2].any()


def test_another_shape_has_nothing_before_it(index: VolumeIndex) -> None:
    index.cache.grow(slab(scene(1, shape=(6, 16, 16)), 0, 2))
    assert index.following()[0].before is None


def test_each_channel_grows_over_its_own(index: VolumeIndex) -> None:
    index.cache.put(scene(0, c=1, shape=SHAPE))
    index.cache.grow(slab(scene(1, c=1, shape=SHAPE), 0, 2))
    first, second = index.following()
    assert (first.key, first.n_restored) == (VolumeKey(0), None)
    assert (second.key, second.before.key) == (VolumeKey(1, 0, 1), VolumeKey(0, 0, 1))


def test_a_channel_that_is_still_to_come_leaves_no_hole(index: VolumeIndex) -> None:
    index.cache.put(scene(0, c=1, shape=SHAPE))
    index.cache.put(scene(1, shape=SHAPE))
    assert [shown.key for shown in index.following()] == [VolumeKey(1), VolumeKey(0, 0, 1)]
    assert [shown.key for shown in index.at(1, 0)] == [VolumeKey(1)], "who looks back sees one time point"
    index.cache.put(scene(1, c=1, shape=SHAPE))
    assert [shown.key for shown in index.following()] == [VolumeKey(1), VolumeKey(1, 0, 1)]


def test_contrast_is_that_of_the_volume_before(index: VolumeIndex) -> None:
    windows, old = Windows(), index.at(0, 0)[0]
    bright = scene(1, shape=SHAPE)
    index.cache.grow(slab(but(bright, maps=bright.maps | {"mean": bright.maps["mean"] * 9}), 0, 3))
    (seen,) = index.following()
    assert windows.of(seen, "mean") == windows.of(old, "mean")
