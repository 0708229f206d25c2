"""An ensemble made without training: seeded networks in one graph with mean, laplace_scale and disagreement.

An export writes `care_live.training.ensemble`, in torch, and needs a training run. Means and scales of the members are
camera counts, or normalised alike; disagreement has no unit.

References
----------
Weigert et al., Nature Methods 15, 1090 (2018): ensembles and the disagreement D.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, compose, helper

from care_live.errors import ModelError
from care_live.model.onnx_builder import OnnxBuilder

_N_NODES = 8
"""Quadrature nodes a piece between two means; D is then within 0.0045 of the exact value."""
_N_TAIL_NODES = 10
"""The same outside of all means."""
_REACH = 14.0
"""Where the tails are cut, in units of the largest scale."""
_SHARED = ("raw", "low", "high")


def merge(members: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """Return one network that runs all members on the same input.

    Parameters
    ----------
    members
        Graphs with inputs raw, low, high and outputs mean and laplace_scale, of one architecture or several.

    Returns
    -------
    onnx.ModelProto
        The same inputs; outputs mean, laplace_scale and disagreement. Without metadata: the card is another.

    Raises
    ------
    ModelError
        Fewer than two members, or one without a Laplace scale.
    """
    if len(members) < 2:
        raise ModelError(f"{len(members)} network makes no ensemble: give at least two")
    for i, member in enumerate(members):
        heads = [output.name for output in member.graph.output]
        if set(heads) != {"mean", "laplace_scale"}:
            raise ModelError(f"member {i} has outputs {heads}: an ensemble needs mean and laplace_scale of each")
    prefixed = [_renamed(member, f"member{i}/") for i, member in enumerate(members)]
    tail = _Expressions(len(members[0].graph.input[0].type.tensor_type.shape.dim))
    means, scales = ([f"member{i}/{head}" for i in range(len(members))] for head in ("mean", "laplace_scale"))
    tail.mixture(means, scales)
    return _assembled(members[0], prefixed, tail)


def _renamed(member: onnx.ModelProto, prefix: str) -> onnx.ModelProto:
    """Prefix every name but the shared inputs'."""
    renamed = compose.add_prefix(member, prefix)
    for node in renamed.graph.node:
        for i, name in enumerate(node.input):
            if name.removeprefix(prefix) in _SHARED:
                node.input[i] = name.removeprefix(prefix)
    return renamed


def _assembled(first: onnx.ModelProto, members: Sequence[onnx.ModelProto], tail: _Expressions) -> onnx.ModelProto:
    like = next(output for output in first.graph.output if output.name == "mean")
    outputs = []
    for head in ("mean", "laplace_scale", "disagreement"):
        outputs.append(onnx.ValueInfoProto())
        outputs[-1].CopyFrom(like)
        outputs[-1].name = head
    graph = helper.make_graph(
        [*(node for member in members for node in member.graph.node), *tail.nodes],
        "ensemble",
        list(first.graph.input),
        outputs,
        [*(tensor for member in members for tensor in member.graph.initializer), *tail.constants],
    )
    model = helper.make_model(graph, opset_imports=first.opset_import, ir_version=first.ir_version)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Piece(NamedTuple):
    """A stretch of the line without a mean inside."""

    centre: str
    length: str
    n_nodes: int
    side: int
    """1: to the right of its centre; −1: to the left."""


class _Expressions(OnnxBuilder):
    """Formulas as nodes; every method returns the name of its result.

    Parameters
    ----------
    n_axes : of every mean and scale
    """

    def __init__(self, n_axes: int) -> None:
        super().__init__("mixture")
        self._n_axes = n_axes

    def mixture(self, means: Sequence[str], scales: Sequence[str]) -> None:
        """Write mean, laplace_scale and disagreement of the mixture of Laplace distributions."""
        mean = self.add("Mean", *means, output="mean")
        self.add(
            "Mean",
            *(self._deviation(*member, mean) for member in zip(means, scales, strict=True)),
            output="laplace_scale",
        )
        own = self.add("Mean", *(self.add("Log", scale) for scale in scales))
        known = self.add("Add", own, 1 + np.log(2))
        gap = self.add("Sub", self._entropy(means, scales), known)
        self.add("Clip", self.add("Div", gap, np.log(len(means))), 0.0, 1.0, output="disagreement")

    def _deviation(self, mean: str, scale: str, centre: str) -> str:
        """Return one member's mean absolute deviation from a centre: |d| + b·exp(−|d|/b)."""
        away = self.add("Abs", self.add("Sub", mean, centre))
        return self.add(
            "Add", away, self.add("Mul", scale, self.add("Exp", self.add("Neg", self.add("Div", away, scale))))
        )

    def _entropy(self, means: Sequence[str], scales: Sequence[str]) -> str:
        """Return the mixture's entropy in nats.

        The line is cut at every mean and halfway between neighbours. Each piece is integrated by
        Gauss-Legendre quadrature in t, where the distance from the mean is δ·(eᵗ − 1) and δ the smallest scale.
        """
        finest, outside = self.add("Min", *scales), self.add("Mul", self.add("Max", *scales), _REACH)
        members = [self._member(finest, *member, share=1 / len(means)) for member in zip(means, scales, strict=True)]
        ordered = self._sorted(means)
        gaps = [self.add("Div", self.add("Sub", right, left), 2.0) for left, right in itertools.pairwise(ordered)]
        numbers = [_N_NODES] * len(gaps)
        right = zip(ordered, [*gaps, outside], [*numbers, _N_TAIL_NODES], [1] * len(ordered), strict=True)
        left = zip(ordered, [outside, *gaps], [_N_TAIL_NODES, *numbers], [-1] * len(ordered), strict=True)
        return self.add("Sum", *(self._piece(finest, members, _Piece(*piece)) for piece in (*right, *left)))

    def _member(self, finest: str, mean: str, scale: str, *, share: float) -> tuple[str, str, str, str]:
        """Return a member's mean, 1/b, δ/b and the logarithm of its share of the density at its mean."""
        inverse = self.add("Reciprocal", scale)
        return mean, inverse, self.add("Mul", finest, inverse), self.add("Log", self.add("Mul", inverse, share / 2))

    def _piece(self, finest: str, members: Sequence[tuple[str, str, str, str]], piece: _Piece) -> str:
        """Integrate −p̄ log p̄ from a centre to one side; nodes lie along an axis in front of all others.

        No mean lies inside a piece, so that the exponent of every member is a straight line there.
        """
        nodes, shares = np.polynomial.legendre.leggauss(piece.n_nodes)
        along = self.add("Log", self.add("Add", self.add("Div", piece.length, finest), 1.0))
        steps, portions = ((values / 2).reshape(-1, *[1] * self._n_axes) for values in (nodes + 1, -shares))
        grown = self.add("Exp", self.add("Mul", along, steps))
        away = self.add("Sub", grown, 1.0)
        density = self.add("Sum", *(self._density(away, piece, member) for member in members))
        surprise = self.add("Mul", density, self.add("Log", self.add("Max", density, 1e-37)))
        weighted = self.add("Mul", self.add("Mul", grown, portions), surprise)
        total = self.add("ReduceSum", weighted, np.array([0], np.int64), keepdims=0)
        return self.add("Mul", self.add("Mul", along, finest), total)

    def _density(self, away: str, piece: _Piece, member: tuple[str, str, str, str]) -> str:
        """Return a member's part of the density at distances from a centre, which are in units of δ."""
        mean, inverse, rate, height = member
        distance = self.add("Mul", self.add("Abs", self.add("Sub", piece.centre, mean)), inverse)
        pair = (piece.centre, mean) if piece.side > 0 else (mean, piece.centre)
        leaves = self.add("Cast", self.add("GreaterOrEqual", *pair), to=TensorProto.FLOAT)
        slope = self.add("Mul", rate, self.add("Sub", 1.0, self.add("Mul", leaves, 2.0)))
        return self.add("Exp", self.add("Add", self.add("Mul", away, slope), self.add("Sub", height, distance)))

    def _sorted(self, values: Sequence[str]) -> list[str]:
        """Sort voxel by voxel with compare-and-swap of neighbours."""
        ordered = list(values)
        for turn in range(len(ordered)):
            for i in range(turn % 2, len(ordered) - 1, 2):
                pair = ordered[i : i + 2]
                ordered[i : i + 2] = [self.add("Min", *pair), self.add("Max", *pair)]
        return ordered
