"""What all recordings share: orders, names, and sizes that no acquisition has."""

from __future__ import annotations

import math

import pytest

from care_live.errors import SourceError
from care_live.images import PlaneIndex, VolumeKey
from care_live.recorded import recording


def test_a_grid_is_listed_in_micro_managers_order() -> None:
    order = recording.every_index({"T": 2, "C": 2, "Z": 3})
    assert order[:4] == (PlaneIndex(0, 0, 0, 0), PlaneIndex(0, 0, 0, 1), PlaneIndex(0, 0, 0, 2), PlaneIndex(0, 0, 1, 0))
    assert len(order) == 12 == len(set(order))
    assert recording.stacks_of(reversed(order)) == {VolumeKey(t, 0, c): (0, 1, 2) for t in range(2) for c in range(2)}


@pytest.mark.parametrize(
    ("given", "n", "names"),
    [
        (("DAPI", "GFP"), 2, ("DAPI", "GFP")),
        (("DAPI", "DAPI"), 2, ("channel 0", "channel 1")),
        (("DAPI", ""), 2, ("channel 0", "channel 1")),
        (("DAPI",), 2, ("channel 0", "channel 1")),
        ((), 1, ("default",)),
    ],
    ids=["as given", "doubled", "empty", "too few", "one"],
)
def test_names_are_made_up_where_they_do_not_tell_channels_apart(
    given: tuple[str, ...], n: int, names: tuple[str, ...]
) -> None:
    assert recording.names_of("channel", given, n) == names


@pytest.mark.parametrize(
    ("shape", "n_bytes"),
    [((0, 4, 4), 2), ((1 << 23, 4, 4), 2), ((3, 1 << 16, 1 << 15), 2), ((3, 0, 4), 2)],
    ids=["no plane", "too many", "too large", "empty"],
)
def test_what_no_acquisition_has_is_refused_before_memory_is_taken(shape: tuple[int, ...], n_bytes: int) -> None:
    with pytest.raises(SourceError, match=r"a\.tif announces"):
        recording.check_size("a.tif", shape, n_bytes)
    recording.check_size("a.tif", (3, 2048, 2048), 2)


def test_a_size_that_is_not_known_is_one_micrometre() -> None:
    assert [recording.size_um(size) for size in (0.25, -0.25, 0.0, None, math.nan, math.inf)] == [
        0.25,
        0.25,
        1,
        1,
        1,
        1,
    ]


def test_counts_are_whole_numbers_of_one_or_two_bytes() -> None:
    assert recording.counts_dtype("<u2", "a.tif") == "uint16"
    with pytest.raises(SourceError, match="wanted uint8 or uint16 camera counts"):
        recording.counts_dtype("int16", "a.tif")
    assert recording.number_dtype("int16", "a.tif") == "int16"
    with pytest.raises(SourceError, match="holds float64 pixels"):
        recording.number_dtype("float64", "a.tif")
