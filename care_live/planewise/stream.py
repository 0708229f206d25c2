"""Run a plan: its sessions, and one stream for each volume."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from care_live.backends.session import Options
from care_live.errors import RestoreError
from care_live.model import quantised_outputs
from care_live.percentiles import Span
from care_live.planewise import emit
from care_live.planewise.caches import ChainedSession, Kept, Landing, give_back, keep
from care_live.planewise.cost import Speed
from care_live.planewise.schedule import ScheduledStep, StepGraph

if TYPE_CHECKING:  # a stream runs a plan that was made elsewhere
    from care_live.planewise.plan import StreamPlan

Array = NDArray[Any]
Interior: TypeAlias = tuple[slice, slice]
"""Rows and columns of a plane."""
WHOLE: Interior = (slice(None), slice(None))
CodedOutputs: TypeAlias = tuple[tuple[str, str], ...]
"""Outputs of a graph that are codes, and which head each belongs to."""


class Left(NamedTuple):
    """What a step leaves."""

    planes: Mapping[int, Kept]
    """By their number in the program."""
    ends: Mapping[int, Kept]
    """Of those that are codes: what they are read with."""


class PlanSessions:
    """The sessions of a plan, ready for one stream after the other.

    Parameters
    ----------
    plan : for one size
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
            plane.number: (head, z) for head, planes in plan.program.results.items() for z, plane in enumerate(planes)
        }
        """Which plane of which output a plane of the program is."""
        self.chained = frozenset(number for step in plan.steps for number in step.inputs)
        """Planes that some step takes."""
        self._leaving = self.results.keys() - self.chained if options.quantised else frozenset()
        """Planes that leave the device as codes."""
        self._recorded = {plane.number for key, plane in plan.program.inputs.items() if key not in ("low", "high")}
        self._sessions: dict[tuple[StepGraph, CodedOutputs], ChainedSession] = {}
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

    def run(self, step: ScheduledStep, planes: Mapping[int, Kept]) -> Left:
        """Run one step on the planes of a stream; return what it leaves."""
        inputs = {name: planes[number] for (name, _), number in zip(step.graph.inputs, step.inputs, strict=True)}
        begun = time.perf_counter()
        left = self._sessions[step.graph, coded := self._coded(step)].run(inputs)
        self.speed.note(step.products, time.perf_counter() - begun)
        numbers = {name: number for (name, _), number in zip(step.graph.outputs, step.outputs, strict=True)}
        ends = {numbers[name]: left[quantised_outputs.ends_of(name)] for name, _ in coded}
        return Left({number: left[name] for name, number in numbers.items()}, ends)

    def _coded(self, step: ScheduledStep) -> CodedOutputs:
        """Return which outputs of a step are codes, and what they say."""
        pairs = zip(step.graph.outputs, step.outputs, strict=True)
        return tuple((name, self.results[number][0]) for (name, _), number in pairs if number in self._leaving)

    def _content(self, step: ScheduledStep) -> bytes:
        """Return the ONNX file of a step."""
        element = onnx.helper.np_dtype_to_tensor_dtype(self.plan.dtype)
        pairs = zip(step.graph.inputs, step.inputs, strict=True)
        raw = {name: element for (name, _), number in pairs if number in self._recorded}
        content = emit.write(step.graph, self.plan.program.constants, opset=self.plan.opset, raw=raw)
        if coded := self._coded(step):
            content = quantised_outputs.coded(onnx.load_model_from_string(content), dict(coded)).SerializeToString()
        return content


class Stream:
    """One volume on its way: planes go in in order, `n_restored` says how many have come out."""

    def __init__(
        self, sessions: PlanSessions, spans: Sequence[Span], into: Mapping[str, Array], *, interior: Interior = WHOLE
    ) -> None:
        self._sessions, self._into, self._interior = sessions, into, interior
        self._plan, self._inputs = sessions.plan, sessions.plan.program.inputs
        low = np.array([span.low for span in spans], np.float32)
        width = np.array([span.width for span in spans], np.float32)
        self._planes: dict[int, Kept] = {}
        for key, array in (("low", low), ("high", low + width), ("zeros", self._zeros(low))):
            if key in self._inputs:
                self._planes[self._inputs[key].number] = keep(array, sessions.options)
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
            if self._n_pushed in self._inputs:
                self._planes[self._inputs[self._n_pushed].number] = keep(fed, self._sessions.options)
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
        self._planes.clear()
        return self._into

    def abandon(self) -> None:
        """Forget everything: a plane is missing, the run was aborted, or the plan has changed."""
        self._planes.clear()
        self._n_steps = len(self._plan.steps) + 1
        give_back(self._sessions.options)

    def _advance(self) -> None:
        steps = self._plan.steps
        while self._n_steps < len(steps) and steps[self._n_steps].after <= self._n_pushed:
            step = steps[self._n_steps]
            if step.graph.lines:
                self._take(self._sessions.run(step, self._planes))
            for number in step.last_use:
                del self._planes[number]
            self._n_steps += 1

    def _take(self, left: Left) -> None:
        """Keep what later steps need, write down what is restored."""
        for number, plane in left.planes.items():
            if number in self._sessions.chained:
                self._planes[number] = plane
            if number in self._sessions.results:
                head, z = self._sessions.results[number]
                landed = self._sessions.landing.fetch(plane, left.ends.get(number))
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
