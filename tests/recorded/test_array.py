"""Arrays of any axes as recordings: each plane where its axes say that it is."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.errors import ConfigError, SourceError
from care_live.images import PlaneIndex
from care_live.recorded.array import ArrayRecording, check_axes


def test_planes_are_found_in_whatever_order_the_axes_are() -> None:
    array = np.random.default_rng(0).integers(0, 4096, (5, 6, 2, 3, 4), dtype=np.uint16)  # y x t c z
    recording = ArrayRecording(array, "YXTCZ", voxel_size_um=(2.0, 0.5, 0.5))
    assert recording.contents.plan.shape_px == (5, 6)
    assert len(recording.contents.order) == 2 * 3 * 4
    for index in recording.contents.order:
        plane = recording.read_plane(index)
        np.testing.assert_array_equal(plane, array[:, :, index.t, index.c, index.z])
        assert not plane.flags.writeable and plane.flags.c_contiguous


def test_two_and_three_axes_need_no_names() -> None:
    assert ArrayRecording(np.zeros((4, 5), np.uint8)).axes == "YX"
    assert ArrayRecording(np.zeros((3, 4, 5), np.uint8)).axes == "ZYX"
    with pytest.raises(ConfigError, match=r"needs its axes named: .* such as axes='TZYX'"):
        ArrayRecording(np.zeros((2, 3, 4, 5), np.uint8))


def test_numbers_of_another_byte_order_are_read_in_the_machines() -> None:
    foreign = np.arange(20, dtype=">u2").reshape(4, 5)
    plane = ArrayRecording(foreign).read_plane(PlaneIndex(0, 0, 0, 0))
    assert plane.dtype == np.uint16
    np.testing.assert_array_equal(plane, foreign)


def test_double_precision_is_read_as_single_and_other_types_are_refused() -> None:
    assert ArrayRecording(np.zeros((4, 5))).contents.plan.dtype == "float32"
    with pytest.raises(SourceError, match="the array holds complex128 pixels"):
        ArrayRecording(np.zeros((4, 5), complex))


@pytest.mark.parametrize(
    ("axes", "shape", "complaint"),
    [
        ("YXS", (4, 5, 3), "colour samples"),
        ("ZYY", (3, 4, 5), "each once"),
        ("ZCT", (3, 4, 5), "Y and X among them"),
        ("QYX", (3, 4, 5), "wanted letters of TCZYX"),
        ("YX", (3, 4, 5), "name 2 axes, but the array has 3"),
        ("ZYX", (3, 0, 5), "the array is empty"),
    ],
)
def test_axes_that_an_array_cannot_have_are_refused(axes: str, shape: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        check_axes(axes, shape)
