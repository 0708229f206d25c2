"""Several networks as one: mixture mean, one Laplace scale for it, disagreement; in torch, for the graph.

References
----------
Weigert et al., Nature Methods 15, 1090 (2018): ensembles and the disagreement D.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor, nn

N_NODES = 10
"""Quadrature nodes a piece; D is then within 0.004 of the exact value."""
REACH = 14.0
"""Where the tails are cut, in units of the largest scale: e^-14 of a member is left out."""


def mixture_disagreement(means: list[Tensor], scales: list[Tensor]) -> Tensor:
    """Return D of members given as lists of tensors of one shape; any shape, values in [0, 1]."""
    own = sum(torch.log(2 * scale) + 1 for scale in scales) / len(scales)
    together = mixture_entropy(means, scales)
    return ((together - own) / math.log(len(means))).clamp(0.0, 1.0)


def mixture_entropy(means: list[Tensor], scales: list[Tensor]) -> Tensor:
    """Return H(p̄) in nats."""
    finest, widest = _smallest(scales), _largest(scales)
    inverse = [1 / scale for scale in scales]
    weight = [value / (2 * len(scales)) for value in inverse]
    ordered = _sorted(means)
    outside = REACH * widest
    gaps = [(right - left) / 2 for left, right in itertools.pairwise(ordered)]
    pieces = [*zip(ordered, [*gaps, outside], [1.0] * len(ordered), strict=True)]
    pieces += zip(ordered, [outside, *gaps], [-1.0] * len(ordered), strict=True)
    entropy = torch.zeros_like(finest)
    for centre, length, side in pieces:
        along = torch.log1p(length / finest)
        steps, shares = (values.reshape(-1, *[1] * finest.ndim).to(finest) for values in _nodes())
        grown = finest * torch.exp(steps * along)  # (nodes, n, c, …)
        surprise = _surprise(centre + side * (grown - finest), means, inverse, weight=weight)
        entropy = entropy + along * (shares * grown * surprise).sum(dim=0)
    return entropy


def _surprise(place: Tensor, means: list[Tensor], inverse: list[Tensor], *, weight: list[Tensor]) -> Tensor:
    """Return −p̄ log p̄ at (nodes, n, c, …) places."""
    density = torch.zeros_like(place)
    for mean, sharpness, height in zip(means, inverse, weight, strict=True):
        density = density + height * torch.exp(-torch.abs(place - mean) * sharpness)
    return -density * torch.log(density.clamp_min(1e-37))


def _nodes() -> tuple[Tensor, Tensor]:
    """Return Gauss-Legendre nodes and weights on [0, 1], each (nodes,)."""
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def _sorted(values: list[Tensor]) -> list[Tensor]:
    """Sort voxel by voxel with compare-and-swap of neighbours, which a graph can hold."""
    ordered = list(values)
    for turn in range(len(ordered)):
        for i in range(turn % 2, len(ordered) - 1, 2):
            low, high = torch.minimum(ordered[i], ordered[i + 1]), torch.maximum(ordered[i], ordered[i + 1])
            ordered[i], ordered[i + 1] = low, high
    return ordered


def _smallest(values: list[Tensor]) -> Tensor:
    smallest = values[0]
    for value in values[1:]:
        smallest = torch.minimum(smallest, value)
    return smallest


def _largest(values: list[Tensor]) -> Tensor:
    largest = values[0]
    for value in values[1:]:
        largest = torch.maximum(largest, value)
    return largest


# torch is not analysed (pyproject), so its classes are Any here.
# mypy: disallow-subclassing-any=False


class Ensemble(nn.Module):
    """Members that read the same normalised image.

    Notes
    -----
    ``forward`` gives (mean, laplace_scale, disagreement), each (n, c_out, [z,] y, x). The published scale is
    that of the one Laplace distribution around the mixture's mean that is closest to the mixture, in the
    sense of KL(mixture ‖ Laplace): its mean absolute deviation, Σ (|d_m| + b_m·exp(−|d_m|/b_m)) / M with
    d_m = μ_m − mean. For a single member that is the member's own scale.
    """

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        predictions = [member(x) for member in self.members]
        if len(predictions) == 1:
            return (*predictions[0], None)
        means, scales = ([prediction[part] for prediction in predictions] for part in (0, 1))
        mean = sum(means) / len(means)
        if scales[0] is None:
            return mean, None, None
        return mean, closest_scale(means, scales, mean), mixture_disagreement(means, scales)


def closest_scale(means: list[Tensor], scales: list[Tensor], centre: Tensor) -> Tensor:
    """Return the mixture's mean absolute deviation from a centre, in closed form."""
    away = [torch.abs(mean - centre) for mean in means]
    deviations = [gap + scale * torch.exp(-gap / scale) for gap, scale in zip(away, scales, strict=True)]
    return sum(deviations[1:], deviations[0]) / len(deviations)
