"""Losses: how far the prediction is from the target, and how well its scale fits that.

The Laplace loss is the exact negative log likelihood of a target under one Laplace distribution per voxel,
natural logarithm, constant kept, so that its value can be compared between networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from care_live.training.recipe import LossName

Loss = Callable[[Tensor, Tensor | None, Tensor], Tensor]
"""(mean, laplace_scale or None, target), each (n, c, [z,] y, x) → a scalar."""


def mae(mean: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return (mean - target).abs().mean()


def mse(mean: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return (mean - target).square().mean()


def hidden_mse(mean: Tensor, target: Tensor) -> Tensor:
    """Mean squared error where the target is a number; it is NaN wherever the network was shown the pixel."""
    hidden = torch.isfinite(target)
    return (mean - torch.where(hidden, target, mean)).square().sum() / hidden.sum().clamp_min(1)


def gaussian(mean: Tensor, target: Tensor) -> Tensor:
    """Negative log likelihood under one Gaussian whose width is the same everywhere.

    The width is the best one for the batch, σ² = mse, put in closed form: ½·log(2π·mse) + ½.
    """
    return 0.5 * torch.log(2 * math.pi * mse(mean, target).clamp_min(1e-12)) + 0.5


def laplace(mean: Tensor, scale: Tensor, target: Tensor, *, beta: float = 0.0) -> Tensor:
    """Negative log likelihood of the target under Laplace(mean, scale): |y − μ|/b + log b + log 2.

    Parameters
    ----------
    beta : 0 to 1; every voxel's term is weighed with b^beta, held constant. 0 is the likelihood itself,
        which cares for the dark background first because b is small there; at 1 the mean learns as under
        the absolute error. The best scale for a given mean is the same for every beta.

    References
    ----------
    Seitzer et al., "On the pitfalls of heteroscedastic uncertainty estimation", ICLR 2022.
    """
    likelihood = (target - mean).abs() / scale + torch.log(2 * scale)
    return (likelihood * scale.detach() ** beta).mean() if beta else likelihood.mean()


def gaussian_laplace(mean: Tensor, scale: Tensor, target: Tensor) -> Tensor:
    """Negative log likelihoods of the mean, as in `gaussian`, and of the Laplace scale around it.

    The mean then is the expected value, which PSNR asks for, and not the median that the Laplace likelihood learns:
    in dim images the two differ.
    """
    return gaussian(mean, target) + laplace(mean.detach(), scale, target)


def fitted_error(mean: Tensor, target: Tensor) -> Tensor:
    """Return the logarithm of the mean squared error that the best gain and offset leave, averaged over all images.

    It falls as the PSNR of the images rises, which is taken after the same fit.
    """
    shown, wanted = (image.flatten(2) - image.flatten(2).mean(-1, keepdim=True) for image in (mean, target))
    gain = (shown * wanted).sum(-1, keepdim=True) / shown.square().sum(-1, keepdim=True).clamp_min(1e-12)
    return (wanted - gain * shown).square().mean(-1).clamp_min(1e-12).log().mean()


def hidden_error(mean: Tensor, target: Tensor) -> Tensor:
    """Return the error at hidden pixels; `fitted_error` of images without hidden ones."""
    return fitted_error(mean, target) if bool(torch.isfinite(target).all()) else hidden_mse(mean, target)


def choose(name: LossName, *, beta: float = 0.0) -> Loss:
    """Return the loss of a recipe, as a function of mean, scale and target."""
    plain = {"mae": mae, "mse": mse, "hidden_mse": hidden_mse, "gaussian": gaussian}
    if name == "laplace":
        return lambda mean, scale, target: laplace(mean, _given(scale), target, beta=beta)
    if name == "gaussian_laplace":
        return lambda mean, scale, target: gaussian_laplace(mean, _given(scale), target)
    return lambda mean, scale, target: plain[name](mean, target)


def choose_error(name: LossName) -> Loss:
    """Return what the best weights are chosen by: `fitted_error`, or the loss itself where pixels are hidden."""
    error = hidden_error if name == "hidden_mse" else fitted_error
    return lambda mean, scale, target: error(mean, target)


def _given(scale: Tensor | None) -> Tensor:
    assert scale is not None, "the recipe checks that losses with a Laplace scale have a probabilistic head"
    return scale
