"""Run a plan: its sessions, and one stream for each volume."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from care_live.backends.session import Options
from care_live.errors import RestoreError
from care_live.model import codes
from care_live.percentiles import Span
from care_live.restore.streaming import graphs
from care_live.restore.streaming.chained import ChainedSession, Kept, Landing, give_back, keep
from care_live.restore.streaming.cost import Speed
from care_live.restore.streaming.derive import Step, StepGraph
from care_live.restore.streaming.plan import StreamPlan

Array = NDArray[Any]
Interior: TypeAlias = tuple[slice, slice]
"""Rows and columns of a plane."""
WHOLE: Interior = (slice(None), slice(None))
Coded: TypeAlias = tuple[tuple[str, str], ...]
"""Outputs of a graph that are codes, and which head each belongs to."""


class Pipeline:
    """The sessions of a plan, ready for one stream after the other.

    Parameters
    ----------
    plan : from `StreamPlan.derive`
    options : provider and threads

    Raises
    ------
    OutOfMemoryError, RestoreError
        The sessions cannot be made.
    """

    def __init__(self, plan: StreamPlan, options: Options) -> None:
        self.plan, self.options, self.speed = plan, options, Speed()
        give_back(options)  # what sessions of another shape have left
        self.landing = Landing(options)
        self.results = {
            value.name: (head, z) for head, values in plan.program.results.items() for z, value in enumerate(values)
        }
        """Which plane of which output a value is."""
        self.chained = frozenset(name for step in plan.steps for name in step.inputs)
        """Values that some step takes."""
        self._leaving = self.results.keys() - self.chained if options.quantised else frozenset()
        """Values that leave the device as codes."""
        self._sessions: dict[tuple[StepGraph, Coded], ChainedSession] = {}
        for step in plan.steps:
            key = step.graph, self._coded(step)
            if step.graph.lines and key not in self._sessions:
                self._sessions[key] = ChainedSession(self._content(step), options)

    def begin(self, spans: Sequence[Span], into: Mapping[str, Array], *, interior: Interior = WHOLE) -> Stream:
        """Start a volume.

        Parameters
        ----------
        spans : of each channel; known before the first plane, or there is nothing to stream
        into : (c_out, z, y, x) float32 for each output of the network, to be filled
        interior : the part of each restored plane that goes there
        """
        return Stream(self, spans, into, interior=interior)

    def run(self, step: Step, values: dict[str, Kept]) -> dict[str, Kept]:
        """Run one step on the values of a stream; return what it leaves."""
        inputs = {name: values[value] for (name, _), value in zip(step.graph.inputs, step.inputs, strict=True)}
        begun = time.perf_counter()
        left = self._sessions[step.graph, coded := self._coded(step)].run(inputs)
        self.speed.note(step.products, time.perf_counter() - begun)
        values_of = {name: value for (name, _), value in zip(step.graph.outputs, step.outputs, strict=True)}
        ends = {codes.ends_of(values_of[name]): left[codes.ends_of(name)] for name, _ in coded}
        return {value: left[name] for name, value in values_of.items()} | ends

    def _coded(self, step: Step) -> Coded:
        """Return which outputs of a step are codes, and what they say."""
        pairs = zip(step.graph.outputs, step.outputs, strict=True)
        return tuple((name, self.results[value][0]) for (name, _), value in pairs if value in self._leaving)

    def _content(self, step: Step) -> bytes:
        """Return the ONNX file of a step."""
        element = onnx.helper.np_dtype_to_tensor_dtype(self.plan.dtype)
        pairs = zip(step.graph.inputs, step.inputs, strict=True)
        raw = {name: element for (name, _), value in pairs if value.startswith("raw@")}
        content = graphs.write(step.graph, self.plan.program.constants, opset=self.plan.opset, raw=raw)
        if coded := self._coded(step):
            content = codes.coded(onnx.load_model_from_string(content), dict(coded)).SerializeToString()
        return content


class Stream:
    """One volume on its way: planes go in in order, `n_restored` says how many have come out."""

    def __init__(
        self, pipeline: Pipeline, spans: Sequence[Span], into: Mapping[str, Array], *, interior: Interior = WHOLE
    ) -> None:
        self._pipeline, self._into, self._interior = pipeline, into, interior
        self._plan = pipeline.plan
        low = np.array([span.low for span in spans], np.float32)
        width = np.array([span.width for span in spans], np.float32)
        self._values = {name: keep(end, pipeline.options) for name, end in (("low", low), ("high", low + width))}
        if "raw@zeros" in self._plan.program.inputs:
            self._values["raw@zeros"] = keep(self._zeros(low), pipeline.options)
        self._n_pushed = self._n_steps = 0
        self._done = np.zeros(self._plan.n_planes, np.int64)
        """Outputs that each plane has got."""
        self.n_restored = 0
        """Planes from the first on that are final."""

    def push(self, planes: Array) -> None:
        """Take the next planes, and do all that they make possible.

        Parameters
        ----------
        planes : (n, c, y, x) camera counts; must not change until the stream is over

        Raises
        ------
        RestoreError
            More planes than planned, another shape, the stream was abandoned, or the runtime failed: restore
            the whole volume instead.
        """
        self._refuse_wrong(planes)
        for plane in planes:
            fed = np.ascontiguousarray(plane[np.newaxis], self._plan.dtype)
            self._values[f"raw@{self._n_pushed}"] = keep(fed, self._pipeline.options)
            self._n_pushed += 1
            self._advance()

    def finish(self) -> Mapping[str, Array]:
        """Return the complete volume.

        Raises
        ------
        RestoreError
            Planes are missing.
        """
        if self.n_restored < self._plan.n_planes:
            raise RestoreError(
                f"a stream of {self._plan.n_planes} planes ended after {self._n_pushed}: restore the whole volume"
            )
        self._values.clear()
        return self._into

    def abandon(self) -> None:
        """Forget everything: a plane is missing, the run was aborted, or the plan has changed."""
        self._values.clear()
        self._n_steps = len(self._plan.steps) + 1
        give_back(self._pipeline.options)

    def _advance(self) -> None:
        steps = self._plan.steps
        while self._n_steps < len(steps) and steps[self._n_steps].after <= self._n_pushed:
            step = steps[self._n_steps]
            if step.graph.lines:
                self._take(self._pipeline.run(step, self._values))
            for name in step.last_use:
                del self._values[name]
            self._n_steps += 1

    def _take(self, left: dict[str, Kept]) -> None:
        """Keep what later steps need, write down what is restored."""
        for name, value in left.items():
            if name in self._pipeline.chained:
                self._values[name] = value
            if name in self._pipeline.results:
                head, z = self._pipeline.results[name]
                landed = self._pipeline.landing.fetch(value, left.get(codes.ends_of(name)))
                self._into[head][:, z] = landed[0][:, *self._interior]
                self._done[z] += 1
        complete = self._done == len(self._plan.program.results)
        self.n_restored = len(complete) if complete.all() else int(np.argmin(complete))

    def _zeros(self, low: NDArray[np.float32]) -> Array:
        """Return a plane that the network takes for zeros: every channel at its low count."""
        dtype = self._plan.dtype
        levels = np.rint(low).clip(0, np.iinfo(dtype).max) if dtype.kind == "u" else low
        plane = np.empty((1, *self._plan.plane_shape), dtype)
        plane[:] = levels.reshape(1, -1, 1, 1)
        return plane

    def _refuse_wrong(self, planes: Array) -> None:
        if self._n_steps > len(self._plan.steps):
            raise RestoreError("this stream was abandoned: restore the whole volume")
        if planes.shape[1:] != self._plan.plane_shape or self._n_pushed + len(planes) > self._plan.n_planes:
            raise RestoreError(
                f"planes {planes.shape} came after {self._n_pushed} of {self._plan.n_planes} planes of "
                f"{self._plan.plane_shape}: restore the whole volume"
            )
