"""What all recordings share: orders, names, and sizes that no acquisition has."""

from __future__ import annotations

import math

import numpy as np
import pytest

from care_live.errors import SourceError
from care_live.images import PlaneIndex, VolumeKey
from care_live.recorded import recording
from care_live.recorded.array import ArrayRecording


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


def test_all_numbers_are_read_as_a_type_that_networks_take() -> None:
    read_as = {"int16": "int16", ">u2": "uint16", "int8": "int16", "float64": "float32", "int32": "float32"}
    assert {name: recording.number_dtype(name, "a.tif") for name in read_as} == read_as
    for name in ("bool", "complex64", "S4"):
        with pytest.raises(SourceError, match=r"wanted whole or floating-point numbers"):
            recording.number_dtype(name, "a.tif")


def test_a_conversion_is_said_and_what_is_too_large_is_infinite() -> None:
    contents = ArrayRecording(np.zeros((4, 5))).contents
    assert contents.conversion == "float64 pixels are read as float32"
    assert ArrayRecording(np.zeros((4, 5), np.uint16)).contents.conversion == ""
    assert np.isinf(recording.converted(np.array([1e300]), "float32"))
