"""One graph of M networks gives what M sessions and the mixture's formulas give."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.errors import ModelError
from tests.make import mixture
from tests.make.merged import merge
from tests.make.seeded_unets import RANGE, counts, run, seeded
from tests.planewise.test_stream import card, pipeline, streamed, whole, worst

SHAPE = (1, 1, 4, 8, 8)


def test_the_mixture_of_three_networks() -> None:
    members = [seeded(seed, filters=4) for seed in range(3)]
    inputs = {"raw": counts(SHAPE), **RANGE}
    merged, apart = run(merge(members), inputs), [run(member, inputs) for member in members]
    means, scales = (np.stack([one[head] for one in apart]).astype(np.float64) for head in ("mean", "laplace_scale"))
    wanted = {"mean": mixture.mean_of(means), "laplace_scale": mixture.scale_of(means, scales)}
    assert worst(merged, wanted) < 1e-5
    exact = mixture.disagreement(means, scales)
    assert np.abs(merged["disagreement"] - exact).max() < 0.0045
    assert exact.max() > 0.05


@pytest.mark.parametrize("axes", ["ZYX", "YX"])
def test_equal_members_agree(axes: str) -> None:
    n = len(axes)
    member, raw = seeded(axes=axes, kernel=(3,) * n, pool=(2,) * n, filters=4), counts(SHAPE[: 2 + n])
    merged, alone = (run(model, {"raw": raw, **RANGE}) for model in (merge([member] * 2), member))
    assert merged["disagreement"].shape == raw.shape
    assert merged["disagreement"].max() < 0.004
    assert worst({head: merged[head] for head in alone}, alone) < 1e-6


def test_an_ensemble_streams() -> None:
    model, raw = merge([seeded(seed, filters=4) for seed in range(2)]), counts((1, 10, 8, 8))
    about = card(heads=("mean", "laplace_scale", "disagreement"), members=2)
    ours, theirs = streamed(pipeline(model, about, raw.shape), raw, [4, 5, 1]), whole(model, raw, about)
    assert np.abs(ours.pop("disagreement") - theirs.pop("disagreement")).max() < 2e-5
    assert worst(ours, theirs) < 2e-6


def test_what_is_no_ensemble_is_refused() -> None:
    with pytest.raises(ModelError, match="at least two"):
        merge([seeded(filters=4)])
    with pytest.raises(ModelError, match="member 1"):
        merge([seeded(filters=4), seeded(filters=4, probabilistic=False)])
