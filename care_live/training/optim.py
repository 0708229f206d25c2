"""Optimisers: Adam, and Muon, which learns more from each of a few updates.

Adam moves every weight on its own. Muon moves a layer's kernels together: of the gradients' running average it
keeps the directions and makes all of them equally long, so that rare directions are learnt as fast as those of every
patch.

References
----------
Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; Liu et al., "Muon is scalable for LLM
training", 2025, for the length of a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from care_live.training.checkpoint import TrainingHistory
from care_live.training.recipe import FitRecipe, OptimiserName

# torch is not analysed (pyproject), so its classes are Any here.
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False


NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""a, b, c of the step X ← a·X + (b·XXᵀ + c·(XXᵀ)²)·X, which takes every singular value to about 1 in five."""
N_STEPS = 5
TYPICAL_STEP = 0.2
"""Root mean square of a step at a rate of 1, about that of Adam: so one learning rate suits both."""


def choose(name: OptimiserName, network: nn.Module, *, learning_rate: float) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe for a network's parameters."""
    if name == "muon":
        return Muon(network.parameters(), learning_rate=learning_rate)
    return torch.optim.Adam(network.parameters(), lr=learning_rate, fused=True)


class Muon(torch.optim.Optimizer):
    """Muon for the kernels of convolutions; Adam for biases, norms and pointwise heads.

    Parameters
    ----------
    parameters : of the network; those with a spatial extent above 1 count as kernels
    learning_rate : as for Adam
    momentum : decay of the gradients' running average
    betas : of Adam
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        learning_rate: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        super().__init__(parameters, {"lr": learning_rate, "momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    direction = self._turned if is_kernel(parameter) else self._adam
                    parameter.sub_(direction(parameter, group), alpha=group["lr"])

    def _turned(self, kernel: Tensor, group: dict[str, Any]) -> Tensor:
        state, gradient = self.state[kernel], kernel.grad
        momentum = state.setdefault("momentum", torch.zeros_like(kernel))
        momentum.lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(momentum, group["momentum"]).flatten(1)  # (n_out, n_in · kernel)
        length = TYPICAL_STEP * max(ahead.shape) ** 0.5
        return orthogonal(ahead).mul_(length).reshape(kernel.shape)

    def _adam(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        state, gradient, (first, second) = self.state[parameter], parameter.grad, group["betas"]
        n = state["n"] = state.get("n", 0) + 1
        mean = state.setdefault("mean", torch.zeros_like(parameter)).lerp_(gradient, 1 - first)
        power = state.setdefault("power", torch.zeros_like(parameter)).lerp_(gradient.square(), 1 - second)
        typical = (power / (1 - second**n)).sqrt_().add_(1e-8)
        return mean / (1 - first**n) / typical


def is_kernel(parameter: Tensor) -> bool:
    """Return whether a parameter, (n_out, n_in, kernel…), reaches beyond a voxel."""
    return parameter.ndim > 2 and int(max(parameter.shape[2:])) > 1


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about the nearest matrix whose singular values are all the same, 1, without a decomposition.

    Parameters
    ----------
    matrix : (rows, columns)

    Returns
    -------
    (rows, columns), singular values 0.7 to 1.2
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    turned = wide / (wide.norm() + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(N_STEPS):
        squares = turned @ turned.T
        turned = a * turned + (b * squares + c * squares @ squares) @ turned
    return turned if matrix.shape[0] <= matrix.shape[1] else turned.T


LAST_SHARE = 0.01
"""Where the cosine schedule ends, as a share of the first rate."""


def learning_rate(fit: FitRecipe, update: int, history: TrainingHistory) -> float:
    """Return the rate of an update (counted from 1)."""
    warm = min(1.0, update / fit.warmup_updates) if fit.warmup_updates else 1.0
    if fit.schedule == "cosine":
        share = LAST_SHARE + (1 - LAST_SHARE) * 0.5 * (1 + math.cos(math.pi * (update - 1) / fit.n_updates))
    elif fit.schedule == "plateau":
        share = 0.5 ** n_plateaus(history.validation, fit.patience)
    else:
        share = 1.0
    return fit.learning_rate * warm * share


def n_plateaus(losses: Sequence[float], patience: int) -> int:
    """Count how often the loss stood still for `patience` validations in a row."""
    best, waited, n = math.inf, 0, 0
    for loss in losses:
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == patience:
            n, waited = n + 1, 0
    return n


def n_since_best(history: TrainingHistory) -> int:
    """Count the validations after the best one."""
    if not history.judged:
        return 0
    return len(history.judged) - 1 - history.judged.index(min(history.judged))
