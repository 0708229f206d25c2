"""Every output plane of a 3D convolution as a sum of 2D ones: for each plane, for two that share, for blocks of two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from care_live.restore.streaming import blocks, pairs, sums
from care_live.restore.streaming.blocks import N_PLANES, Blocks, Seat
from care_live.restore.streaming.network import Shape
from care_live.restore.streaming.planes import Planes
from care_live.restore.streaming.program import Program, Value
from care_live.restore.streaming.timeline import Motion


class Part(NamedTuple):
    """Channels of a plane: a join of parts need not be made before a convolution."""

    value: Value
    first: int
    """Channel of the join at which this part begins."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution of planes that are all known."""

    name: str
    """Of the tensor that it makes."""
    op: str
    kernels: Sequence[sums.Kernel]
    motion: Motion
    placing: Mapping[str, Any]
    """Attributes in the plane."""
    bias: tuple[str, ...]
    """The constant, if there is one."""
    shape: Shape
    """(1, c, y, x) of an output plane."""
    n_planes: int
    """Of the output."""
    source: Sequence[Value]
    """Input planes."""

    @property
    def mixes(self) -> bool:
        """Every output channel reads every input channel, in a kernel (c_out, c_in, ky, kx)."""
        return self.op == "Conv" and self.placing["group"] == 1


class Convolutions:
    """Writes convolutions into a program.

    Parameters
    ----------
    target, made, held : of the program
    parts : of planes that are joins, by their names
    wait : a plane may wait for the next one where that saves work
    """

    def __init__(
        self, target: Program, made: Planes, held: Blocks, parts: Mapping[str, tuple[Part, ...]], *, wait: bool
    ) -> None:
        self._target, self._made, self._held = target, made, held
        self._parts, self._wait = parts, wait

    def written(self, convolution: Convolution, start: int | None) -> Iterator[Value]:
        """Write a convolution; give its planes.

        Parameters
        ----------
        start : first plane of the first block, 0 or -1; None: its planes stay alone
        """
        if start is None or not convolution.mixes:
            return self._planes(convolution)
        return self._in_blocks(convolution, start)

    def _planes(self, convolution: Convolution) -> Iterator[Value]:
        """Write two planes at a time where they share products, else each for itself."""
        writer = sums.Writer(self._target, convolution.op, convolution.shape, convolution.placing)
        rows = [self._terms(convolution, (z,)) for z in range(convolution.n_planes)]
        for z in range(0, len(rows), 2):
            pair, names = rows[z : z + 2], (f"{convolution.name}@{z}", f"{convolution.name}@{z + 1}")
            shared = self._share(pair) if convolution.mixes else pairs.Shared()
            if shared.same:
                plus, minus = self._shared(shared, writer, convolution.bias, f"{convolution.name}@{z}&{z + 1}")
                yield writer.write(shared.first, (), names[0], known=plus)
                yield writer.write(shared.second, (), names[1], known=minus)
            else:
                for terms, plane in zip(pair, names, strict=False):
                    yield writer.write(list(terms.values()), convolution.bias, plane)

    def _in_blocks(self, convolution: Convolution, start: int) -> Iterator[Value]:
        """Write two planes at a time as one value."""
        n, c, y, x = convolution.shape
        writer = sums.Writer(self._target, convolution.op, (n, N_PLANES * c, y, x), convolution.placing)
        bias = [self._repeated(name) for name in convolution.bias]
        for first in range(start, convolution.n_planes, N_PLANES):
            members = range(first, first + N_PLANES)
            terms = self._terms(convolution, members)
            block = writer.write(list(terms.values()), bias, f"{convolution.name}@{first}..{members[-1]}")
            for side, z in enumerate(members):
                if 0 <= z < convolution.n_planes:
                    yield self._held.cut(Seat(block, side * c), c, f"{convolution.name}@{z}")

    def _terms(self, convolution: Convolution, members: Sequence[int]) -> dict[str, sums.Term]:
        """Return what some output planes, the channels of one value, are the sum of; outside of the stack nothing."""
        terms: dict[str, sums.Term] = {}
        for side, z in enumerate(members):
            taps = convolution.motion.taps(z, len(convolution.source)) if 0 <= z < convolution.n_planes else ()
            for tap in taps:
                plane, kernel = convolution.source[tap.plane], convolution.kernels[tap.kernel]
                if not convolution.mixes:
                    sums.add_term(terms, sums.Term(plane, kernel))
                    continue
                for part in self._parts.get(plane.name, (Part(plane, 0),)):
                    sums.add_term(terms, self._term(part, kernel, side, len(members)))
        return terms

    def _term(self, part: Part, kernel: sums.Kernel, side: int, n_sides: int) -> sums.Term:
        """Return what a part adds: its whole block, with a kernel that takes it from there to where it is wanted."""
        c_out = len(kernel.weight)
        block, first = self._held.seat(part.value)
        kernel = sums.narrowed(kernel, part.first, part.value.shape[1])
        widened = blocks.widened(kernel, (first, block.shape[1]), (side * c_out, n_sides * c_out))
        return sums.Term(block, widened, part.first)

    def _repeated(self, bias: str) -> str:
        return self._target.constant(f"{bias}@{N_PLANES}", np.tile(self._target.constants[bias], N_PLANES))

    def _share(self, pair: Sequence[pairs.Terms]) -> pairs.Shared:
        return pairs.share(self._made, pair[0], pair[1], wait=self._wait) if len(pair) == 2 else pairs.Shared()

    def _shared(self, shared: pairs.Shared, writer: sums.Writer, bias: Sequence[str], name: str) -> tuple[Value, Value]:
        """Compute what two planes have in common; return what each of them adds to."""
        same = writer.write(shared.same, bias, f"{name}+")
        if not shared.opposed:
            return same, same
        opposed = writer.write(shared.opposed, (), f"{name}-")
        return self._made.total(same, opposed), self._made.difference(same, opposed).value
