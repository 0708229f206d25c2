"""Programs of small networks, and what they compute."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from care_live.planewise import emit, frontend
from care_live.planewise.ir import PlaneSum, Program, Target
from care_live.planewise.passes.expand import expand
from care_live.planewise.schedule import steps
from care_live.planewise.unroll import unroll
from tests.make.seeded_unets import options

ALONE, PACKED = 1, 16
"""Channels that a convolution works with at once: planes stay alone, thin planes are packed."""


def unrolled(model: onnx.ModelProto, shape: tuple[int, ...], *, live: bool = False, n_at_once: int = PACKED) -> Program:
    """Return the program of a network before any pass."""
    target = Target(live, n_at_once)
    return unroll(frontend.read(model, shape), range(shape[2]), target=target)


def evaluate(program: Program, inputs: Mapping[int | str, NDArray[np.generic]]) -> dict[str, list[NDArray[np.float32]]]:
    """Run a program, in whatever state of its compilation, in one graph.

    Parameters
    ----------
    inputs : recorded planes (1, c, y, x) by z, and whatever else the program reads
    """
    written = expand(program) if any(isinstance(op, PlaneSum) for op in program.ops) else program
    whole = Program(
        tuple(op._replace(outline=0) for op in written.operations),
        written.constants,
        written.inputs,
        written.results,
        written.layers,
        written.target,
        written.n_numbers,
    )
    (step,) = steps(whole, [max((z + 1 for z in written.inputs if isinstance(z, int)), default=0)])
    keys = {plane.number: key for key, plane in written.inputs.items()}
    feeds = {name: inputs[keys[n]] for (name, _), n in zip(step.graph.inputs, step.inputs, strict=True)}
    raw = {name: onnx.helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in feeds.items()}
    content = emit.write(step.graph, written.constants, opset=20, raw=raw)
    session = ort.InferenceSession(content, options(), providers=["CPUExecutionProvider"])
    made = dict(zip(step.outputs, session.run([name for name, _ in step.graph.outputs], feeds), strict=True))
    return {name: [made[plane.number] for plane in planes] for name, planes in written.results.items()}


def feeds_of(raw: NDArray[np.generic]) -> dict[int | str, NDArray[np.generic]]:
    """Return what a program reads of a volume (1, c, z, y, x)."""
    ends = {name: np.full(raw.shape[1], end, np.float32) for name, end in (("low", 100), ("high", 3000))}
    return {z: np.ascontiguousarray(raw[:, :, z]) for z in range(raw.shape[2])} | ends


def worst(ours: Mapping[str, list[NDArray[np.float32]]], theirs: Mapping[str, list[NDArray[np.float32]]]) -> float:
    """Return the largest difference, relative to the largest value."""
    return max(
        float(max(np.abs(a - b).max() for a, b in zip(ours[name], theirs[name], strict=True)))
        / float(max(np.abs(b).max() for b in theirs[name]))
        for name in theirs
    )
