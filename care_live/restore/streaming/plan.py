"""How a network runs plane by plane on stacks of one size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from care_live.errors import ModelError
from care_live.model import file
from care_live.model.card import ModelCard
from care_live.restore.streaming import network, rows
from care_live.restore.streaming.derive import Step, steps
from care_live.restore.streaming.lower import lower
from care_live.restore.streaming.program import Program
from care_live.restore.streaming.timeline import live_boundaries, padded_planes
from care_live.tiling import margins

STEP_PLANES = 4
"""Planes that a step takes at once in the middle of a stack; a multiple of most networks' pooling."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a network cannot run plane by plane; whole volumes are restored instead."""

    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class StreamPlan:
    """How a network runs plane by plane on stacks of one size."""

    n_planes: int
    """Recorded planes."""
    plane_shape: tuple[int, int, int]
    """(c, y, x) of what is pushed for each plane."""
    dtype: np.dtype[Any]
    """Of a pushed plane."""
    steps: tuple[Step, ...]
    program: Program
    opset: int

    @staticmethod
    def derive(
        model: Path | onnx.ModelProto, card: ModelCard, shape_px: tuple[int, int], n_planes: int
    ) -> StreamPlan | Refused:
        """Derive the plan from a model file, for planes that come one after the other.

        Parameters
        ----------
        shape_px : (y, x), multiples of the card's divisor: one tile, or the whole field
        n_planes : of the stack that will be recorded; filled up to the divisor as the card says
        """
        if (refused := refuse(card)) is not None:
            return refused
        [(before, after)] = margins((n_planes,), card.divisor[:1], card.boundary)
        sources = padded_planes(n_planes, before, after, card.boundary)
        proto = file.load(model) if isinstance(model, Path) else model
        shape = (1, len(card.channels_in), len(sources), *shape_px)
        return plan(proto, shape, sources, live_boundaries(n_planes, STEP_PLANES), hurry=True, first=before)

    @property
    def lookahead(self) -> int:
        """Planes that must follow one before it can be restored, at most."""
        planes = next(iter(self.program.results.values()))
        return max(value.ready - 1 - z for z, value in enumerate(planes))

    @property
    def cache_bytes(self) -> int:
        """Most memory that is carried from one step to the next."""
        return max(kept for kept, _ in self._memory())

    @property
    def peak_bytes(self) -> int:
        """Most memory that is alive at once: caches, and what a step works on."""
        return max(peak for _, peak in self._memory())

    def _memory(self) -> Iterator[tuple[int, int]]:
        """Yield for each step the bytes carried on to the next one, and the most while it runs."""
        sizes = {name: math.prod(value.shape) for name, value in self.program.inputs.items()}
        alive: set[str] = set()
        for step in self.steps:
            idle = sum(sizes[name] for name in alive.difference(step.inputs))
            sizes |= {name: math.prod(shape) for name, (_, shape) in zip(step.outputs, step.graph.outputs, strict=True)}
            alive = (alive | set(step.outputs)) - set(step.last_use)
            yield 4 * sum(sizes[name] for name in alive), 4 * (idle + step.peak)


def refuse(card: ModelCard) -> Refused | None:
    """Return why a network of this kind is never streamed, or None."""
    if card.axes != "ZYX" or card.task not in {"denoise", "deconvolve"}:
        return Refused(f"a network for {card.task} on {card.axes} has no recorded planes to follow")
    if card.normalisation != "in-graph":
        return Refused("a foreign network is normalised around its graph")
    return None


def plan(
    model: onnx.ModelProto,
    shape: tuple[int, ...],
    sources: Sequence[int | None],
    boundaries: Sequence[int],
    *,
    hurry: bool,
    first: int = 0,
) -> StreamPlan | Refused:
    """Return the plan for one input size and one sequence of steps.

    Parameters
    ----------
    shape : (1, c, z, y, x) as the network sees it, padding included
    sources : for each of these z, which recorded plane it is; None is a plane of zeros
    boundaries : after how many recorded planes each step runs
    hurry : prepare what can be prepared for the last step, and let no plane wait for another
    first : z of the first recorded plane
    """
    try:
        read = network.read(model, shape)
        program = lower(read, sources, slice(first, first + boundaries[-1]), wait=not hurry)
        program = program if hurry else rows.apart(program)
    except (network.Unstreamable, ModelError) as verdict:
        return Refused(str(verdict))
    element = next(value for value in model.graph.input if value.name == "raw").type.tensor_type.elem_type
    return StreamPlan(
        boundaries[-1],
        (shape[1], shape[3], shape[4]),
        np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element)),
        steps(program, boundaries, hurry=hurry),
        program,
        read.opset,
    )
