"""An exported file against torch, by numbers; through the session that restores."""

# torch is not analysed (pyproject), so its classes are Any here.

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from care_live.backends.session import OnnxSession, Options
from care_live.errors import ModelError
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore.tiled import Network

TOLERANCE = 1e-5
"""Largest difference between ONNX Runtime and torch, as a share of the output's range."""
TOLERANCE_OF_D = 4e-4
"""The same of D, in [0, 1]: a tenth of what its quadrature leaves; members far apart make its rounding large."""


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
        raw = rng.integers(90, 1000, (n, card.n_inputs, *space)).astype(np.uint16)
        spans = [Span(100.0, 700.0 + 10 * channel) for channel in range(card.n_inputs)]
        low, high = (np.array([getattr(span, bound) for span in spans], np.float32) for bound in ("low", "high"))
        with torch.no_grad():
            wanted = deployed(*(torch.from_numpy(value) for value in (raw, low, high)))
        width = max(span.width for span in spans) if card.output == "counts" else 1.0
        unit = max(float(np.ptp(wanted[0].numpy())), width)  # mean and scale share the range, D has 0 to 1
        for head, got, reference in zip(card.heads, network.run(raw, spans), wanted, strict=True):
            away = float(np.abs(got - reference.numpy()).max())
            share = away * TOLERANCE / TOLERANCE_OF_D if head == "disagreement" else away / unit
            worst = max(worst, share)
    if not worst <= TOLERANCE:
        raise ModelError(f"{path}: ONNX Runtime differs from torch by {worst:.1e} of the range; at most {TOLERANCE}")
    return worst
