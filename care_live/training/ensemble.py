"""Several networks as one: mixture mean, one Laplace scale for it, disagreement; in torch, for the graph.

References
----------
Weigert et al., Nature Methods 15, 1090 (2018): ensembles and the disagreement D.
"""

# torch is not analysed (pyproject), so its classes are Any here.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import torch
from torch import Tensor, nn

from care_live.training.entropy import mixture_disagreement


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
