"""What every screen is given: a volume that grows, a run and its networks."""

from __future__ import annotations

import msgspec
import numpy as np

from care_live.images import ModelIdentity, NetworkInUse, VolumeKey
from care_live.viewer.view_records import NetworkInfo, RunInfo, ViewedVolume, describe
from tests.make import records

SHAPE = (4, 2, 3)


def whole(t: int, value: float) -> ViewedVolume:
    raw = records.volume(np.full(SHAPE, t, np.uint16), VolumeKey(t))
    return ViewedVolume(records.restored(raw, {"mean": np.full(SHAPE, value, np.float32)}), raw)


def growing(n: int, before: ViewedVolume | None) -> ViewedVolume:
    planes = records.planes(VolumeKey(1), {"mean": np.full(SHAPE, 9, np.float32)}, slice(0, n), SHAPE[0])
    return ViewedVolume(planes, None, "provisional", before=before)


def seen(shown: ViewedVolume) -> list[float]:
    return [float(plane[0, 0]) for part in shown.parts("mean") for plane in part]


def test_missing_planes_are_those_of_the_volume_before() -> None:
    assert seen(growing(1, whole(0, 5.0))) == [9, 5, 5, 5]
    assert seen(growing(4, whole(0, 5.0))) == [9, 9, 9, 9]
    assert seen(whole(0, 5.0)) == [5, 5, 5, 5]


def test_raw_planes_are_those_before_until_the_volume_is_there() -> None:
    (raw,) = growing(1, whole(3, 5.0)).parts("raw")
    assert (raw == 3).all()
    assert growing(1, None).parts("raw") == ()


def test_how_far_it_is_is_known_only_while_it_grows() -> None:
    assert (growing(3, None).n_restored, whole(0, 1.0).n_restored) == (3, None)
    assert growing(3, None).shape == SHAPE


def test_without_raw_pixels_its_time_is_known_all_the_same() -> None:
    shown = whole(0, 1.0)
    assert shown.volume is not None
    unsent = msgspec.structs.replace(shown.volume, pixels=np.empty((0, 0, 0), np.uint16), acquired_us=7)
    assert (ViewedVolume(None, unsent).raw, ViewedVolume(None, unsent).acquired_us) == (None, 7)
    assert growing(1, None).acquired_us == 0


def test_a_channel_is_restored_by_the_network_that_says_so_or_that_was_noted_last() -> None:
    old, new, other = (ModelIdentity(name, name * 8) for name in "abc")
    info = RunInfo(networks=(NetworkInfo(old, (0,)), NetworkInfo(other, (1,)), NetworkInfo(new, (0,))))
    assert info.network_of(0).model == new
    assert info.network_of(0, made_by=old).model == old
    assert info.network_of(1).model == other
    assert info.network_of(7) == NetworkInfo()
    assert info.model == "b, c", "those that restore now"


def test_a_card_that_cannot_be_read_costs_only_its_line() -> None:
    info = describe("run", networks=[NetworkInUse(ModelIdentity("net", "0" * 64), {"name": 3})])
    assert (info.model, info.card) == ("net", "")
    assert "quantification" in info.limits
