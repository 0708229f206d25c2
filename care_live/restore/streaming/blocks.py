"""Two thin planes in one block: together their channels fill the vectors that a convolution works with.

On a processor with vectors of 512 bits onnxruntime convolves 16 channels at once, and 8 take hardly less time. So two
neighbouring planes become the channels of one value, and their kernel planes the corners of one kernel. With inputs
d₀ … d₃ and kernel planes g₀, g₁, g₂ two output planes are two products::

    ⎡g₀ g₁⎤ ⎡d₀⎤   ⎡g₂ 0 ⎤ ⎡d₂⎤
    ⎣0  g₀⎦ ⎣d₁⎦ + ⎣g₁ g₂⎦ ⎣d₃⎦

if they begin one plane behind a block of their input (`care_live.restore.streaming.staggering`). What lies in a block
where there is no plane, before the first or after the last one, is never read.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from care_live.restore.streaming.network import Shape
from care_live.restore.streaming.program import Program, Value
from care_live.restore.streaming.sums import Kernel

N_PLANES = 2
"""Of a block."""


class Seat(NamedTuple):
    """Where a plane lies."""

    block: Value
    first: int
    """Its first channel there."""


class Blocks:
    """The blocks of a program, and the planes in them."""

    def __init__(self, target: Program) -> None:
        self._target = target
        self._seats: dict[str, Seat] = {}
        self._made: dict[str, Value] = {}

    def holds(self, plane: Value) -> bool:
        """Return whether a plane shares a block."""
        return plane.name in self._seats

    def seat(self, plane: Value) -> Seat:
        """Return where a plane lies; one that was made alone is the whole of its block."""
        return self._seats.get(plane.name, Seat(plane, 0))

    def cut(self, seat: Seat, n_channels: int, name: str) -> Value:
        """Return a plane of a block, for what works on single planes; never kept between steps, as the block is."""
        if name not in self._made:
            block, first = self._seats[name] = seat
            n, _, y, x = block.shape
            ends = [
                self._target.constant(f"index_{i}", np.array([i], np.int64)) for i in (first, first + n_channels, 1)
            ]
            self._made[name] = self._target.add("Slice", [block, *ends], name, (n, n_channels, y, x), cheap=True)
        return self._made[name]

    def alone(self, plane: Value) -> Value:
        """Return a plane that is kept, as results are."""
        return self._target.add("Identity", [plane], f"{plane.name}@alone", plane.shape) if self.holds(plane) else plane

    def through(self, plane: Value, make: Callable[[Value], Value], name: str) -> Value:
        """Do with the whole block of a plane what leaves its channels apart.

        Parameters
        ----------
        make : gives the same value for the same block
        name : of the plane that comes out
        """
        block, first = self.seat(plane)
        made = make(block)
        return self.cut(Seat(made, first), plane.shape[1], name) if self.holds(plane) else made

    def once(
        self, op: str, inputs: Sequence[Value | str], name: str, shape: Shape, *, attributes: Mapping[str, Any]
    ) -> Value:
        """Write an operation on blocks, that each of their planes asks for."""
        if name not in self._made:
            self._made[name] = self._target.add(op, inputs, name, shape, attributes=attributes)
        return self._made[name]

    def common(self, planes: list[Value]) -> tuple[int, Shape] | None:
        """Return the first channel of planes that lie alike in blocks, and the shape of those, or None."""
        seats = {(seat.first, seat.block.shape) for seat in map(self.seat, planes)}
        return seats.pop() if len(seats) == 1 and all(map(self.holds, planes)) else None


def n_channels_at_once() -> int:
    """Return how many channels of float32 this processor's convolutions work with at once: a vector, or two."""
    features = importlib.import_module("numpy._core._multiarray_umath").__cpu_features__
    return 16 if features.get("AVX512F") else 8


def widened(kernel: Kernel, inputs: tuple[int, int], outputs: tuple[int, int]) -> Kernel:
    """Return a kernel for blocks: it reads some channels, writes some, and leaves the others alone.

    Parameters
    ----------
    inputs, outputs : the first channel of a plane, and the number of channels of its block
    """
    c_out, c_in, *rest = kernel.weight.shape
    (first_in, n_in), (first_out, n_out) = inputs, outputs
    if (c_out, c_in) == (n_out, n_in):
        return kernel
    weight = np.zeros((n_out, n_in, *rest), np.float32)
    weight[first_out : first_out + c_out, first_in : first_in + c_in] = kernel.weight
    return Kernel(f"{kernel.name}@{first_out}/{n_out},{first_in}/{n_in}", weight)
