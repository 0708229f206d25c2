"""What freshly trained networks make of the volumes that they were validated with: for the report of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from care_live.training.ensemble import Ensemble
from care_live.training.examples import Example
from care_live.training.inference import Applied

MOST_VOLUMES = 4
MOST_PX = {"Z": 16, "Y": 192, "X": 192}
"""Of a volume, its middle is judged; every patch is at least as large as one for training."""


def judge(members: Sequence[nn.Module], examples: Sequence[Example], *, divisor: Sequence[int]) -> list[Applied]:
    """Restore the middle of a few volumes, evenly taken, with all members together.

    Parameters
    ----------
    members : trained networks in evaluation mode
    examples : volumes that the members have not learnt from
    divisor : what sizes must be multiples of, one per axis of the examples or of their last axes
    """
    ensemble = Ensemble(list(members)).eval()
    chosen = examples[:: max(1, -(-len(examples) // MOST_VOLUMES))]
    return [_judged(ensemble, example, divisor) for example in chosen]


def _judged(ensemble: Ensemble, example: Example, divisor: Sequence[int]) -> Applied:
    size_px = middle_px(example.shape_px, divisor)
    corner = [(whole - part) // 2 for whole, part in zip(example.shape_px, size_px, strict=True)]
    patch = example.cut(corner, size_px, None)
    with torch.no_grad():
        mean, scale, disagreement = ensemble(torch.from_numpy(np.ascontiguousarray(patch.input))[None])
    return Applied(
        condition="validation",
        name=example.name,
        raw=_with_z(patch.input),
        mean=_with_z(mean[0].numpy()),
        laplace_scale=None if scale is None else _with_z(scale[0].numpy()),
        disagreement=None if disagreement is None else _with_z(disagreement[0].numpy()),
        truth=_with_z(patch.target),
    )


def middle_px(shape_px: Sequence[int], divisor: Sequence[int]) -> tuple[int, ...]:
    """Return how much of a volume is judged: at most `MOST_PX`, a multiple of the divisor along every axis."""
    steps = (*[1] * (len(shape_px) - len(divisor)), *divisor)
    most = list(MOST_PX.values())[-len(shape_px) :]
    return tuple(
        min(size, max(limit, step)) // step * step for size, limit, step in zip(shape_px, most, steps, strict=True)
    )


def _with_z(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give (c, y, x) a z axis of one plane."""
    return image if image.ndim == 4 else image[:, None]
