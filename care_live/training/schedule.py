"""Learning rate and early stop, as pure functions of the update number and the history."""

from __future__ import annotations

import math
from collections.abc import Sequence

from care_live.training.checkpoint import History
from care_live.training.recipe import FitRecipe

LAST_SHARE = 0.01
"""Where the cosine schedule ends, as a share of the first rate."""


def learning_rate(fit: FitRecipe, update: int, history: History) -> float:
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


def n_since_best(history: History) -> int:
    """Count the validations after the best one."""
    if not history.validation:
        return 0
    return len(history.validation) - 1 - history.validation.index(min(history.validation))
