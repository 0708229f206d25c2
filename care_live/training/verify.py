"""An exported file against torch, by numbers, and its reach, by experiment; through the session that restores."""

# torch is not analysed (pyproject), so its classes are Any here.

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from care_live.errors import ModelError
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore import probe
from care_live.restore.network import Network
from care_live.restore.session import OnnxSession, Options

TOLERANCE = 1e-5
"""Largest difference between ONNX Runtime and torch, as a share of the output's range."""


def open_network(path: Path, card: ModelCard) -> Network:
    """Open a file as the restorer does, on the CPU."""
    return Network(path, card, Options(), open_session=OnnxSession)


def check_against_torch(path: Path, card: ModelCard, deployed: nn.Module) -> float:
    """Compare ONNX Runtime with torch on three shapes; returns the largest difference, relative to the range.

    Raises
    ------
    ModelError
        They differ by more than `TOLERANCE`.
    """
    network, rng, worst = open_network(path, card), np.random.default_rng(0), 0.0
    for n, blocks in ((1, (2, 2, 2)), (2, (3, 2, 4)), (1, (5, 4, 3))):
        space = [n_blocks * (step if step > 1 else 3) for n_blocks, step in zip(blocks, card.divisor, strict=False)]
        raw = rng.integers(90, 1000, (n, len(card.channels_in), *space)).astype(np.uint16)
        spans = [Span(100.0, 700.0 + 10 * channel) for channel in range(len(card.channels_in))]
        low, high = (np.array([getattr(span, bound) for span in spans], np.float32) for bound in ("low", "high"))
        with torch.no_grad():
            wanted = deployed(*(torch.from_numpy(value) for value in (raw, low, high)))
        unit = max(float(np.ptp(wanted[0].numpy())), 1e-6)  # mean and scale share the mean's range, D has 0 to 1
        for head, got, reference in zip(card.heads, network.run(raw, spans), wanted, strict=True):
            away = float(np.abs(got - reference.numpy()).max())
            worst = max(worst, away / (1.0 if head == "disagreement" else unit))
    if not worst <= TOLERANCE:
        raise ModelError(f"{path}: ONNX Runtime differs from torch by {worst:.1e} of the range; at most {TOLERANCE}")
    return worst


def measure_halo(path: Path, card: ModelCard) -> tuple[int, ...]:
    """Measure the reach of a network with impulses: how far a changed pixel changes the output, per axis.

    Every pixel of one divisor block is changed in turn, one axis at a time, in an image of noise, and every
    channel. The result is rounded up to the divisor, because tiles are aligned to it, and widened to what the
    restorer feels when it opens the file: a plane far away may matter only where much is changed at once.
    """
    network, rng = open_network(path, card), np.random.default_rng(1)
    halo = tuple(
        _reach_along(network, card, axis=axis, rng=rng) if _is_local(card, axis) else 0
        for axis in range(len(card.axes))
    )
    return widened(network, card, halo)


def widened(network: Network, card: ModelCard, halo: tuple[int, ...]) -> tuple[int, ...]:
    """Return the halo, or the next wider one with which the restorer would open the network."""
    while True:
        felt = probe.reach(network, card.model_copy(update={"halo_px": halo}))
        wide = tuple(max(now, -(-far // step) * step) for now, far, step in zip(halo, felt, card.divisor, strict=True))
        if wide == halo:
            return halo
        halo = wide


def _is_local(card: ModelCard, axis: int) -> bool:
    """A projected axis is read whole, so that it has no halo."""
    return not (card.task == "project" and card.axes[axis] == "Z")


def _reach_along(network: Network, card: ModelCard, *, axis: int, rng: np.random.Generator) -> int:
    step = card.divisor[axis]
    for least in (64, 128, 256, 512):
        half = -(-least // step) * step
        reach = _reach_within(network, card, axis=axis, half=half, rng=rng)
        if reach < half - step:
            return -(-reach // step) * step
    raise ModelError(f"the network's reach along {card.axes[axis]} is {reach} px or more: it cannot be tiled")


def _reach_within(network: Network, card: ModelCard, *, axis: int, half: int, rng: np.random.Generator) -> int:
    """Change one hyperplane after the other in the middle of an image that is 2·half long."""
    step, n_channels = card.divisor[axis], len(card.channels_in)
    space = [2 * half if number == axis else 2 * size for number, size in enumerate(card.divisor)]
    image = rng.integers(100, 1000, (1, n_channels, *space)).astype(np.uint16)
    spans = [Span(100.0, 900.0)] * n_channels
    before = [output.copy() for output in network.run(image, spans)]
    reach = 0
    for offset in range(step):
        changed = np.moveaxis(image.copy(), 2 + axis, 0)
        changed[half + offset] = 60000
        after = network.run(np.ascontiguousarray(np.moveaxis(changed, 0, 2 + axis)), spans)
        reach = max(reach, *(_furthest(a - b, axis, half + offset) for a, b in zip(after, before, strict=True)))
    return reach


def _furthest(change: NDArray[np.float32], axis: int, source: int) -> int:
    moved = np.flatnonzero(np.abs(np.moveaxis(change, 2 + axis, 0)).reshape(change.shape[2 + axis], -1).max(axis=1) > 0)
    return int(np.abs(moved - source).max()) if len(moved) else 0
