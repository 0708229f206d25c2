"""The graph built from an architecture and weights is the network that CSBDeep trained."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.errors import ModelError
from care_live.model.unet_graph import UNetShape, build, seeded_weights
from tests.conftest import need_data
from tests.make.seeded_unets import RANGE, counts, csbdeep_weights, run, seeded

pytest.importorskip("h5py")


@pytest.mark.slow
def test_a_trained_network_gives_what_csbdeep_gave() -> None:
    folder = need_data("csbdeep_models/care3d_trained_prob_f16")
    reference, unet = np.load(folder / "reference.npz"), UNetShape(filters=16)
    model = build(unet, csbdeep_weights(folder / "weights_best.h5", unet))
    raw = reference["x"]
    low, high = np.percentile(raw, (2, 99.8)).astype(np.float32)
    ours = run(model, {"raw": raw[None, None], "low": low[None], "high": high[None]})
    for head, theirs in (("mean", "mean"), ("laplace_scale", "scale")):
        worst = np.abs(ours[head][0, 0] - reference[theirs]).max() / np.abs(reference[theirs]).max()
        assert worst < 2e-6, head


def test_equal_seeds_give_equal_files() -> None:
    assert seeded(3).SerializeToString() == seeded(3).SerializeToString()
    assert seeded(3).SerializeToString() != seeded(4).SerializeToString()


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        ({"axes": "YX", "kernel": (5, 5), "pool": (2, 2), "filters": 8}, (2, 1, 16, 24)),
        ({"filters": 4, "depth": 1, "pool": (1, 2, 2), "probabilistic": False}, (1, 1, 5, 8, 8)),
        ({"filters": 4, "channels_in": 3, "residual": False, "output": "normalised"}, (1, 3, 4, 8, 8)),
    ],
    ids=["2d-kernel-5", "z-not-pooled", "three-channels-to-one"],
)
def test_every_architecture_runs_and_keeps_the_field(architecture: dict[str, object], shape: tuple[int, ...]) -> None:
    n = shape[1]
    ends = {name: np.repeat(value, n) for name, value in RANGE.items()}
    for output in run(seeded(**architecture), {"raw": counts(shape), **ends}).values():
        assert output.shape == (shape[0], 1, *shape[2:])
        assert np.isfinite(output).all()


def test_a_weight_of_the_wrong_shape_is_named() -> None:
    unet = UNetShape(filters=4)
    weights = list(seeded_weights(unet))
    weights[1] = weights[0]
    with pytest.raises(ModelError, match="down0_1"):
        build(unet, weights)
