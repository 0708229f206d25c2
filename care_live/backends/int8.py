"""Fast mode on processors without bfloat16: 8-bit integers, whose ranges are learnt from what is restored."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.backends.openvino import Compiled, OpenVinoSession, handed_over, lighter
from care_live.backends.session import Options, Session
from care_live.errors import ModelError
from care_live.model.eight_bits import FULLNESS, quantised, tensor_of, watched

logger = logging.getLogger(__name__)

Array = NDArray[Any]
_FULL = 1 - 1e-6


def open_session(content: bytes, shapes: Mapping[str, Sequence[int]], options: Options) -> Session:
    """Open a network in 8 bits, or in float32 where it has nothing to gain from them."""
    try:
        return EightBitSession(content, shapes, options)
    except ModelError as error:
        logger.warning("fast_mode=f32 reason=%s", error)
        return OpenVinoSession(content, shapes, options)


class EightBitSession:
    """A network at one shape in 8 bits; see `session.OnnxSession` for the parameters.

    Every tensor has a range, and what lies beyond would be cut off. Ranges come from the first volume, which
    is run in float32 for them. Every run reports how full the ranges were: where one was full, that same volume widens
    them and is run again, so that nothing that comes out has been cut off, however bright the specimen becomes.

    Raises
    ------
    ModelError
        No convolution of the network can be quantised.
    """

    def __init__(self, content: bytes, shapes: Mapping[str, Sequence[int]], options: Options) -> None:
        self._model, self._shapes, self._options = lighter(content), shapes, options
        self._watched = watched(self._model)
        self._peaks: dict[str, NDArray[np.float32]] = {}
        self._compiled: Compiled | None = None
        self.outputs = tuple(output.name for output in self._model.graph.output)

    def run(self, inputs: Mapping[str, Array], into: Sequence[Array] | None = None) -> tuple[Array, ...]:
        """Run once; see `session.OnnxSession.run`. Takes a few times as long when the ranges must be widened."""
        results = self._run(inputs)
        return handed_over(self._widened(inputs) if results is None else results, into)

    def _run(self, inputs: Mapping[str, Array]) -> tuple[Array, ...] | None:
        """Return the results, or None where something may have been cut off."""
        if self._compiled is None:
            return None
        found = dict(zip(self._compiled.outputs, self._compiled.run(inputs), strict=True))
        return None if found[FULLNESS] >= _FULL else tuple(found[name] for name in self.outputs)

    def _widened(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        """Learn ranges from one more input and run it again.

        The float32 results are returned where the new ranges do not help: ranges from NaN would be wrong, and rounding
        in 8 bits may overshoot the peaks of float32 by more than the headroom.
        """
        exact, peaks = self._watch(inputs)
        if not all(np.isfinite(values).all() for values in peaks.values()):
            return exact
        self._peaks = {name: np.maximum(values, self._peaks.get(name, 0)) for name, values in peaks.items()}
        self._compiled = Compiled(quantised(self._model, self._peaks), self._shapes, self._options)
        if (results := self._run(inputs)) is None:
            return exact
        self._say_deviation(exact, results)
        return results

    def _watch(self, inputs: Mapping[str, Array]) -> tuple[tuple[Array, ...], dict[str, NDArray[np.float32]]]:
        """Return the results in float32 and the peaks; what runs them is heavy and rarely needed, so it is let go."""
        compiled = Compiled(self._watched, self._shapes, self._options)
        found = {name: value.copy() for name, value in zip(compiled.outputs, compiled.run(inputs), strict=True)}
        tensors = set(found).difference(self.outputs)
        return tuple(found[name] for name in self.outputs), {tensor_of(name): found[name] for name in tensors}

    def _say_deviation(self, exact: Sequence[Array], fast: Sequence[Array]) -> None:
        """Log how far this volume's mean moved, rms in units of its own predicted Laplace scale."""
        if not {"mean", "laplace_scale"} <= set(self.outputs):
            logger.info("fast_mode=int8 ranges=widened")
            return
        mean, scale = (self.outputs.index(name) for name in ("mean", "laplace_scale"))
        moved = float(np.sqrt(np.square((fast[mean] - exact[mean]) / exact[scale]).mean()))
        logger.info("fast_mode=int8 ranges=widened deviation=%.2g of the Laplace scale on this volume", moved)
