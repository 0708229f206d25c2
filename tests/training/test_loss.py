"""Losses against closed forms, and against numbers from the standard library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from care_live.metrics import psnr_db
from care_live.training import loss


def _pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, 1, 4, 5)), rng.uniform(0.05, 2, (2, 1, 4, 5)), rng.normal(size=(2, 1, 4, 5))


def test_laplace_is_the_negative_log_likelihood() -> None:
    mean, scale, target = _pair()
    wanted = -stats.laplace.logpdf(target, mean, scale).mean()
    assert float(loss.laplace(*map(torch.from_numpy, (mean, scale, target)))) == pytest.approx(wanted, rel=1e-12)


def test_gaussian_is_the_likelihood_under_its_best_width() -> None:
    mean, _, target = _pair(1)
    sigma = math.sqrt(np.mean((target - mean) ** 2))
    wanted = -stats.norm.logpdf(target, mean, sigma).mean()
    assert float(loss.gaussian(torch.from_numpy(mean), torch.from_numpy(target))) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("name", "wanted"), [("mae", 2.0), ("mse", 5.0)])
def test_absolute_and_squared(name: str, wanted: float) -> None:
    mean, target = torch.tensor([1.0, 1.0]), torch.tensor([2.0, -2.0])
    assert float(loss.choose(name)(mean, None, target)) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_best_scale_is_the_absolute_error_whatever_beta(beta: float) -> None:
    error = 0.37
    scale = torch.tensor([error], dtype=torch.float64, requires_grad=True)
    loss.laplace(torch.zeros(1), scale, torch.full((1,), error, dtype=torch.float64), beta=beta).backward()
    assert scale.grad is not None
    assert float(scale.grad) == pytest.approx(0, abs=1e-12)


def test_gradient_of_the_mean_by_hand() -> None:
    mean, scale, target = map(torch.from_numpy, _pair(2))
    mean.requires_grad_()
    loss.laplace(mean, scale, target).backward()
    assert mean.grad is not None
    by_hand = torch.sign(mean.detach() - target) / scale / mean.numel()
    assert torch.allclose(mean.grad, by_hand)
    mean.grad = None
    loss.laplace(mean, scale, target, beta=1.0).backward()  # as under the absolute error
    assert torch.allclose(mean.grad, by_hand * scale)


def test_the_mean_learns_what_is_expected_and_the_scale_the_error_around_it() -> None:
    target = torch.tensor([0.0, 0.0, 0.0, 4.0], dtype=torch.float64)  # median 0, mean 1
    mean = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    scale = torch.full((4,), 1.0, dtype=torch.float64, requires_grad=True)
    loss.choose("gaussian_laplace")(mean, scale, target).backward()
    assert mean.grad is not None
    assert scale.grad is not None
    assert float(mean.grad.sum()) == pytest.approx(-1 / 4)  # towards the mean: Σ (mean - target) / (n · mse)
    assert float(scale.grad.sum()) == pytest.approx(0)  # which is the mean absolute error


def test_the_error_that_chooses_weights_orders_them_as_psnr_does() -> None:
    rng = np.random.default_rng(4)
    target = rng.normal(size=(2, 1, 16, 16))
    images = [3.0 * (target + width * rng.normal(size=target.shape)) + 7.0 for width in (0.5, 0.1, 0.3)]
    errors = [float(loss.fitted_error(*map(torch.from_numpy, (image, target)))) for image in images]
    left = [[psnr_db(image[n, 0], target[n, 0]) for n in range(2)] for image in images]
    assert np.ptp([error + np.mean(db) * math.log(10) / 10 for error, db in zip(errors, left, strict=True)]) < 1e-6
    flat = torch.zeros(1, 1, 4, 4)
    assert math.isfinite(float(loss.fitted_error(flat + 1, flat)))


def test_hidden_pixels_are_judged_by_the_loss_itself() -> None:
    target = torch.full((1, 1, 4, 4), math.nan)
    target[..., 0, 0] = 1.0
    assert float(loss.choose_error("hidden_mse")(torch.zeros(1, 1, 4, 4), None, target)) == 1.0
