"""A whole volume as a stream: on a CPU a sum of 2D convolutions is twice as fast as a 3D one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from care_live.backends.session import OnnxSession, Options, Session
from care_live.percentiles import Span
from care_live.planewise.plan import NotPlanewise, StreamPlan, plan_whole
from care_live.planewise.stream import PlanSessions

logger = logging.getLogger(__name__)

Array = NDArray[Any]


class PlanewiseSession:
    """A `care_live.backends.session.Session` that runs a 3D network as 2D convolutions of planes.

    Parameters
    ----------
    plan : for the whole input at once
    options : provider and threads
    """

    def __init__(self, plan: StreamPlan, options: Options) -> None:
        self._sessions = PlanSessions(plan, options)
        self.outputs = tuple(plan.program.results)

    def run(self, inputs: Mapping[str, Array], into: Sequence[Array] | None = None) -> tuple[Array, ...]:
        """Run once; see `care_live.backends.session.OnnxSession.run`."""
        raw = inputs["raw"]
        spans = [Span(float(low), float(high)) for low, high in zip(inputs["low"], inputs["high"], strict=True)]
        outs = tuple(into) if into is not None else tuple(self._empty(name, len(raw)) for name in self.outputs)
        for i, volume in enumerate(raw):
            maps = dict(zip(self.outputs, (out[i] for out in outs), strict=True))
            stream = self._sessions.begin(spans, maps)
            stream.push(volume.swapaxes(0, 1))
            stream.finish()
        return outs

    def _empty(self, output: str, n: int) -> NDArray[np.float32]:
        planes = self._sessions.plan.program.results[output]
        _, c, y, x = planes[0].shape
        return np.empty((n, c, len(planes), y, x), np.float32)


def open_session(content: bytes, shapes: Mapping[str, Sequence[int]], options: Options) -> Session:
    """Open a network at one shape, plane by plane where it can be, else as it is."""
    shape = tuple(shapes.get("raw", ()))
    if len(shape) == 5:
        planned = plan_whole(onnx.load_model_from_string(content), shape)
        if not isinstance(planned, NotPlanewise):
            return PlanewiseSession(planned, options)
        logger.info("planewise=no shape=%s reason=%s", shape, planned)
    return OnnxSession(content, shapes, options)
