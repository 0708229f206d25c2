"""Muon turns kernels and leaves the rest to Adam."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from care_live.training.optim import TYPICAL_STEP, Muon, choose, is_kernel, orthogonal

RATE = 0.01


@pytest.mark.parametrize("shape", [(8, 54), (54, 8), (16, 16)], ids=str)
def test_every_direction_becomes_equally_long_and_none_turns(shape: tuple[int, int]) -> None:
    left, lengths, right = torch.linalg.svd(torch.randn(*shape), full_matrices=False)
    given = left @ torch.diag(torch.logspace(0, -1.5, len(lengths))) @ right
    along = left.T @ orthogonal(given) @ right.T
    assert float(along.diagonal().min()) > 0.6
    assert float(along.diagonal().max()) < 1.3
    assert float((along - along.diagonal().diag()).abs().max()) < 1e-4


def step_of(gradient: torch.Tensor) -> torch.Tensor:
    kernel = nn.Parameter(torch.zeros_like(gradient))
    kernel.grad = gradient
    Muon([kernel], learning_rate=RATE).step()
    return kernel.detach()


def test_a_step_of_kernels_is_as_long_as_the_rate_says_whatever_the_gradient() -> None:
    gradient = torch.randn(8, 6, 3, 3, 3)
    steps = [step_of(gradient * factor) for factor in (1.0, 1e-3)]
    assert float((steps[0] - steps[1]).abs().max()) < 1e-6
    assert float(steps[0].square().mean().sqrt()) == pytest.approx(RATE * TYPICAL_STEP, rel=0.3)
    assert float((steps[0] * gradient).sum()) < 0  # downhill


def test_channels_last_changes_nothing() -> None:
    gradient = torch.randn(8, 6, 3, 3, 3)
    assert torch.equal(step_of(gradient), step_of(gradient.contiguous(memory_format=torch.channels_last_3d)))


@pytest.mark.parametrize("shape", [(5,), (2, 5, 1, 1, 1)], ids=["bias", "head"])
def test_biases_and_heads_are_moved_as_by_adam(shape: tuple[int, ...]) -> None:
    ours, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    optimisers = Muon([ours], learning_rate=RATE), torch.optim.Adam([theirs], lr=RATE)
    for _ in range(20):
        gradient = torch.randn(shape)
        ours.grad, theirs.grad = gradient, gradient.clone()
        for optimiser in optimisers:
            optimiser.step()
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_what_is_not_trained_stays() -> None:
    kernel = nn.Parameter(torch.ones(4, 4, 3, 3))
    Muon([kernel], learning_rate=RATE).step()
    assert torch.equal(kernel, torch.ones(4, 4, 3, 3))


def test_a_recipe_means_adam_unless_it_says_muon() -> None:
    network = nn.Conv3d(1, 4, 3)
    assert type(choose("adam", network, learning_rate=RATE)) is torch.optim.Adam
    assert type(choose("muon", network, learning_rate=RATE)) is Muon
    assert [is_kernel(parameter) for parameter in network.parameters()] == [True, False]
