"""The projecting network against its formula: planes weighed by a softmax along z, added up, restored as one plane."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.errors import ModelError
from care_live.model.projection_graph import ProjectionGraph, build_projecting
from care_live.model.unet_graph import ConvolutionWeights, UNetShape, convolution_shapes
from tests.make.seeded_unets import counts, run

SMALL = ProjectionGraph(depth=1, filters=2)
UNET = UNetShape(axes="YX", depth=1, filters=2, kernel=(3, 3), pool=(2, 2), probabilistic=False)
RAW = counts((1, 1, 5, 8, 8))
ENDS = {"low": np.array([100], np.float32), "high": np.array([3000], np.float32)}


def zeros(shapes: object) -> list[ConvolutionWeights]:
    return [ConvolutionWeights(np.zeros(shape, np.float32), np.zeros(shape[0], np.float32)) for shape in shapes]  # type: ignore[attr-defined]


def test_a_network_of_zeros_gives_the_average_of_the_planes() -> None:
    """Equal weights for all planes, and a residual that adds nothing."""
    unet = zeros(shape for _, shape in convolution_shapes(UNET))
    model = build_projecting(SMALL, zeros(SMALL.shapes), UNET, unet)
    mean = run(model, {"raw": RAW, **ENDS})["mean"]
    assert mean.shape == (1, 1, 1, 8, 8)
    np.testing.assert_allclose(mean[0, 0, 0], RAW[0, 0].mean(0), rtol=1e-4)


def test_a_convolution_of_another_shape_is_refused() -> None:
    wrong = zeros(SMALL.shapes)
    wrong[0] = ConvolutionWeights(np.zeros((3, 1, 3, 3, 3), np.float32), np.zeros(3, np.float32))
    with pytest.raises(ModelError, match="the projecting convolutions are"):
        build_projecting(SMALL, wrong, UNET, zeros(shape for _, shape in convolution_shapes(UNET)))


def test_it_weighs_on_each_level_down_and_up_and_once_more() -> None:
    assert len(ProjectionGraph(depth=3, convolutions=2).shapes) == 2 * (2 * 3 + 1) + 1
    assert ProjectionGraph(channels_in=2).shapes[0][:2] == (8, 2)
    assert ProjectionGraph().shapes[-1][0] == 1
