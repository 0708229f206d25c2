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
from care_live.planewise import frontend
from care_live.planewise.ir import Program, Target
from care_live.planewise.motion import padded_planes
from care_live.planewise.passes import optimise
from care_live.planewise.passes.pack_planes import n_channels_at_once
from care_live.planewise.schedule import ScheduledStep, live_boundaries, steps, whole_boundaries
from care_live.planewise.unroll import unroll
from care_live.reasons import Reason, whole
from care_live.tiling import margins

_LIVE_PLANES = 4
"""Planes that a step takes at once in the middle of a stack that is being recorded; a multiple of most networks'
pooling."""
WHOLE_PLANES = 32
"""Planes at once of a volume that is complete: what two steps have between them is turned into another memory layout
and back."""


@dataclass(frozen=True, slots=True)
class NotPlanewise:
    """Why a network cannot run plane by plane; whole volumes are restored instead."""

    reason: Reason
    detail: str = ""
    """What the compiler says."""

    def __str__(self) -> str:
        """Return the reason in words."""
        return str(whole(self.reason, self.detail))


@dataclass(frozen=True, slots=True, eq=False)
class StreamPlan:
    """How a network runs plane by plane on stacks of one size."""

    n_planes: int
    """Recorded planes."""
    plane_shape: tuple[int, int, int]
    """(c, y, x) of what is pushed for each plane."""
    dtype: np.dtype[Any]
    """Of a pushed plane."""
    steps: tuple[ScheduledStep, ...]
    program: Program
    opset: int

    @property
    def lookahead(self) -> int:
        """Planes that must follow one before it can be restored, at most."""
        planes = next(iter(self.program.results.values()))
        return max(plane.ready - 1 - z for z, plane in enumerate(planes))

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
        sizes = {plane.number: math.prod(plane.shape) for plane in self.program.inputs.values()}
        alive: set[int] = set()
        for step in self.steps:
            idle = sum(sizes[number] for number in alive.difference(step.inputs))
            sizes |= {n: math.prod(shape) for n, (_, shape) in zip(step.outputs, step.graph.outputs, strict=True)}
            alive = (alive | set(step.outputs)) - set(step.last_use)
            yield 4 * sum(sizes[number] for number in alive), 4 * (idle + step.peak)


def plan_live(
    model: Path | onnx.ModelProto, card: ModelCard, shape_px: tuple[int, int], n_planes: int
) -> StreamPlan | NotPlanewise:
    """Plan a stack whose planes come one after the other.

    Parameters
    ----------
    shape_px : (y, x), multiples of the card's divisor: one tile, or the whole field
    n_planes : of the stack that will be recorded; filled up to the divisor as the card says
    """
    if (refused := refusal(card)) is not None:
        return refused
    [(before, after)] = margins((n_planes,), card.divisor[:1], card.boundary)
    sources = padded_planes(n_planes, before, after, card.boundary)
    proto = file.load(model) if isinstance(model, Path) else model
    shape = (1, card.n_inputs, len(sources), *shape_px)
    return compile_plan(proto, shape, sources, live_boundaries(n_planes, _LIVE_PLANES), live=True, first=before)


def plan_whole(model: onnx.ModelProto, shape: tuple[int, ...]) -> StreamPlan | NotPlanewise:
    """Plan volumes of one shape (n, c, z, y, x) that are complete, one after the other."""
    n_planes = shape[2]
    boundaries = whole_boundaries(n_planes, WHOLE_PLANES)
    return compile_plan(model, (1, *shape[1:]), range(n_planes), boundaries, live=False)


def refusal(card: ModelCard) -> NotPlanewise | None:
    """Return why a network of this kind is never streamed, or None."""
    if card.axes != "ZYX" or card.task not in {"denoise", "deconvolve"}:
        return NotPlanewise("task", f"it is for {card.task} on {card.axes}")
    if card.normalisation != "in-graph":
        return NotPlanewise("foreign")
    return None


def compile_plan(
    model: onnx.ModelProto,
    shape: tuple[int, ...],
    sources: Sequence[int | None],
    boundaries: Sequence[int],
    *,
    live: bool,
    first: int = 0,
    n_at_once: int | None = None,
) -> StreamPlan | NotPlanewise:
    """Return the plan for one input size and one sequence of steps.

    Parameters
    ----------
    shape : (1, c, z, y, x) as the network sees it, padding included
    sources : for each of these z, which recorded plane it is; None is a plane of zeros
    boundaries : after how many recorded planes each step runs
    live : prepare what can be prepared for the last step, and let no plane wait for another
    first : z of the first recorded plane
    n_at_once : channels that a convolution works with at once; None: as this processor does
    """
    target = Target(live, n_at_once or n_channels_at_once())
    try:
        network = frontend.read(model, shape)
        program = optimise(unroll(network, sources, slice(first, first + boundaries[-1]), target=target))
    except (frontend.Unstreamable, ModelError) as verdict:
        return NotPlanewise("operator", str(verdict))
    element = next(value for value in model.graph.input if value.name == "raw").type.tensor_type.elem_type
    return StreamPlan(
        boundaries[-1],
        (shape[1], shape[3], shape[4]),
        np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element)),
        steps(program, boundaries),
        program,
        network.opset,
    )
