"""3D convolutions taken apart along z: how they move, and which ones a stream refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from care_live.model import rewrite
from care_live.planewise.conv import convolution, pooling, transposed_convolution
from care_live.planewise.frontend import NetworkNode, Unstreamable
from care_live.planewise.motion import SlidingWindow, Spread


def node(op: str, **attributes: Any) -> NetworkNode:
    return NetworkNode(op, ("x", "w"), ("y",), attributes)


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_a_kernel_is_one_2d_kernel_for_each_of_its_planes() -> None:
    whole = weight(4, 2, 5, 3, 3)
    apart = convolution(node("Conv", pads=[2, 1, 1, 2, 1, 1], strides=[1, 1, 1]), whole)
    assert apart.motion == SlidingWindow(5, 1, 2)
    assert (apart.placing.strides, apart.placing.pads) == ((1, 1), (1, 1, 1, 1))
    np.testing.assert_array_equal(np.stack([kernel.weight for kernel in apart.kernels], axis=2), whole)
    assert len({kernel.name for kernel in apart.kernels}) == 5


def test_padding_that_is_the_same_is_half_of_an_odd_kernel() -> None:
    apart = convolution(node("Conv", auto_pad=b"SAME_UPPER"), weight(1, 1, 3, 5, 7))
    assert apart.motion == SlidingWindow(3, 1, 1)
    assert apart.placing.pads == (2, 3, 2, 3)


def test_an_upsampled_convolution_that_is_written_as_a_transposed_one_is_found() -> None:
    plain = weight(3, 2, 3, 3)
    spread = np.stack([rewrite.spread_weight(plain, (2, 2))] * 2, axis=2)
    found = transposed_convolution(node("ConvTranspose", strides=[2, 2, 2], pads=[0, 1, 1, 0, 1, 1]), spread)
    assert (found.factors, found.placing.kind, found.motion) == ((2, 2), "Conv", Spread(2, 2, 0))
    for kernel in found.kernels:
        np.testing.assert_allclose(kernel.weight, plain, atol=1e-5)


def test_another_transposed_convolution_stays_one() -> None:
    other = transposed_convolution(node("ConvTranspose", strides=[2, 2, 2]), weight(1, 1, 2, 2, 2))
    assert (other.factors, other.placing.kind, other.motion) == ((1, 1), "ConvTranspose", Spread(2, 2, 0))


def test_poolings_combine_planes_as_they_combine_pixels() -> None:
    for op, combined in (("MaxPool", "Max"), ("AveragePool", "Mean")):
        motion, placing, how = pooling(node(op, kernel_shape=[2, 2, 2], strides=[2, 2, 2]))
        assert (motion, how) == (SlidingWindow(2, 2, 0), combined)
        assert placing == {"kernel_shape": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0)}


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"dilations": [2, 1, 1]}, "Conv y is dilated"),
        ({"auto_pad": b"SAME_UPPER", "strides": [2, 2, 2]}, r"leaves its padding to the library \(SAME_UPPER\)"),
    ],
    ids=["dilated", "padding not known"],
)
def test_a_convolution_that_a_stream_cannot_run_is_refused_by_name(attributes: dict[str, Any], why: str) -> None:
    with pytest.raises(Unstreamable, match=why):
        convolution(node("Conv", **attributes), weight(1, 1, 3, 3, 3))


def test_a_transposed_convolution_that_pads_its_output_is_refused() -> None:
    with pytest.raises(Unstreamable, match="pads its output"):
        transposed_convolution(node("ConvTranspose", output_padding=[1, 0, 0]), weight(1, 1, 2, 2, 2))


def test_an_average_over_padding_is_refused() -> None:
    with pytest.raises(Unstreamable, match="is not a plain pooling"):
        pooling(node("AveragePool", kernel_shape=[2, 2, 2], pads=[1, 0, 0, 0, 0, 0]))
