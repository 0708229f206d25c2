"""What shape, voxel size and range the result of a task has; known before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

from care_live.model.card import ModelCard
from care_live.percentiles import Span


def upsampled_planes(n_planes: int, factor: float) -> int:
    """Return how many planes `upsample_z` makes."""
    return max(1, round(n_planes * factor))


def output_shape(card: ModelCard, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Return (c_out, z, y, x) of the result for a raw volume (z, y, x)."""
    z, y, x = shape
    if card.task in {"isotropic", "upsample"}:
        z = upsampled_planes(z, card.factor)
    elif card.task == "project":
        z = 1
    return (len(card.channels_out), z, y, x)


def output_voxel_um(card: ModelCard, shape: Sequence[int], voxel_um: Sequence[float]) -> tuple[float, float, float]:
    """Return the (z, y, x) voxel size of the result for a raw volume (z, y, x)."""
    n_out = output_shape(card, shape)[1]
    dz, dy, dx = voxel_um
    if card.task == "project":
        return (dz * shape[0], dy, dx)
    if n_out > 1 and shape[0] > 1:
        return (dz * (shape[0] - 1) / (n_out - 1), dy, dx)
    return (dz, dy, dx)


def output_spans(card: ModelCard, spans: Sequence[Span]) -> list[Span]:
    """Return the range of each output channel; (0, 1) where the network does not give camera counts."""
    n_out = len(card.channels_out)
    if card.normalisation == "in-graph" and card.output == "counts" and n_out == len(spans):
        return list(spans)
    return [Span(0.0, 1.0)] * n_out
