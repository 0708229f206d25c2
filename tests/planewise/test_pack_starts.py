"""Where packs of two planes begin: next to each other where planes stay alone, staggered across a convolution."""

from __future__ import annotations

from care_live.planewise.ir import PlaneLayer
from care_live.planewise.passes.pack_starts import pack_starts


def conv(*sources: str, n_planes: int = 8, n_channels: int = 4, reach: int = 3) -> PlaneLayer:
    return PlaneLayer("Conv", sources, n_planes, n_channels, reach, mixes=True)


def relu(source: str, n_planes: int = 8) -> PlaneLayer:
    return PlaneLayer("Relu", (source,), n_planes, 4, 1, mixes=False)


def test_a_convolution_across_planes_begins_where_its_input_does_not() -> None:
    starts = pack_starts({"a": conv("raw"), "b": relu("a"), "c": conv("b")}, 8)
    assert starts["a"] == starts["b"], "what works on each plane alone keeps its packs"
    assert starts["c"] != starts["b"]
    assert set(starts.values()) == {0, -1}


def test_what_is_added_begins_alike() -> None:
    both = PlaneLayer("Add", ("a", "d"), 8, 4, 1, mixes=False)
    starts = pack_starts({"a": conv("raw"), "d": conv("a", reach=1), "sum": both}, 8)
    assert starts["a"] == starts["d"] == starts["sum"]


def test_planes_that_are_wide_or_alone_are_not_packed() -> None:
    assert not pack_starts({"a": conv("raw", n_channels=5)}, 8), "two of them have more channels than fit"
    assert not pack_starts({"a": conv("raw", n_planes=1)}, 8)
    assert not pack_starts({"a": conv("raw")._replace(mixes=False)}, 8)
    assert pack_starts({"a": conv("raw")}, 8)


def test_pooled_planes_lie_in_one_pack() -> None:
    pooled = PlaneLayer("MaxPool", ("a",), 4, 4, 1, mixes=False)
    assert pack_starts({"a": conv("raw"), "pooled": pooled, "b": conv("pooled", n_planes=4)}, 8)["a"] == 0
