"""Two thin planes become one value: together their channels fill the vectors that a convolution works with.

On a processor with vectors of 512 bits onnxruntime convolves 16 channels at once, and 8 take hardly less time. So two
neighbouring planes become the channels of one value, a pack, and their kernel planes the corners of one kernel. With
inputs d₀ … d₃ and kernel planes g₀, g₁, g₂ two output planes are two products::

    ⎡g₀ g₁⎤ ⎡d₀⎤   ⎡g₂ 0 ⎤ ⎡d₂⎤
    ⎣0  g₀⎦ ⎣d₁⎦ + ⎣g₁ g₂⎦ ⎣d₃⎦

if they begin one plane behind a pack of their input (`care_live.planewise.passes.pack_starts`). What lies in a pack
where there is no plane, before the first or after the last one, is never read.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from care_live.planewise.builder import ProgramBuilder
from care_live.planewise.ir import POINTWISE, Constant, Kernel, Op, Operand, Plane, PlaneSum, Program, Term, merged
from care_live.planewise.passes.pack_starts import N_PACKED, pack_starts

_FINITE = POINTWISE - {"Div", "Exp", "Log", "Pow", "Reciprocal"}
"""Operators that make no infinity of a number: in a pack, where there is no plane, it would not vanish times zero."""
_CHANNELWISE = frozenset({"Resize", "MaxPool", "AveragePool"})
"""Operators on one plane that leave its channels apart."""


class PackedPlane(NamedTuple):
    """Where a plane lies."""

    pack: Plane
    first: int
    """Its first channel there."""


def pack_planes(program: Program) -> Program:
    """Return the program with its thin planes in packs of two."""
    starts = pack_starts(program.layers, program.target.n_channels_at_once)
    return _Packing(program, starts).program() if starts else program


def n_channels_at_once() -> int:
    """Return how many channels of float32 this processor's convolutions work with at once: a vector, or two."""
    features = importlib.import_module("numpy._core._multiarray_umath").__cpu_features__
    return 16 if features.get("AVX512F") else 8


class _Packing:
    def __init__(self, program: Program, starts: Mapping[str, int]) -> None:
        self._source, self._starts = program, starts
        self._builder = ProgramBuilder(program.target, program)
        self._sums = {(op.layer, op.z): op for op in program.ops if isinstance(op, PlaneSum) and op.layer}
        self._packs: dict[tuple[str, int], Plane] = {}
        """Of plane sums, by tensor and first plane."""
        self._in_pack: dict[int, PackedPlane] = {}

    def program(self) -> Program:
        for op in self._source.ops:
            if isinstance(op, PlaneSum):
                self._sum(op)
            else:
                self._operation(op)
        results = {name: tuple(map(self._alone, planes)) for name, planes in self._source.results.items()}
        return self._builder.program(results)

    # -- plane sums -------------------------------------------------------------------------------------------

    def _sum(self, op: PlaneSum) -> None:
        if not op.placing.mixes:
            self._builder.copy(op)
        elif op.layer in self._starts:
            self._packed(op, self._starts[op.layer])
        else:
            terms = merged(self._terms(op, 0, 1))
            self._builder.sum(op._replace(terms=terms), output=op.output)

    def _packed(self, op: PlaneSum, start: int) -> None:
        """Compute a plane with its neighbour, if that has not been done, and take it from there."""
        side = (op.z - start) % N_PACKED
        place, c = (op.layer, op.z - side), op.output.shape[1]
        if place not in self._packs:
            members = [self._sums.get((op.layer, op.z - side + i)) for i in range(N_PACKED)]
            self._packs[place] = self._pack(op, members)
        self._cut(op.output, PackedPlane(self._packs[place], side * c))

    def _pack(self, op: PlaneSum, members: Sequence[PlaneSum | None]) -> Plane:
        n, c, y, x = op.output.shape
        terms = merged(
            term for side, member in enumerate(members) if member for term in self._terms(member, side, N_PACKED)
        )
        bias = None if op.bias is None else self._repeated(op.bias)
        return self._builder.sum(op._replace(terms=terms, bias=bias, layer="", z=0), shape=(n, N_PACKED * c, y, x))

    def _terms(self, op: PlaneSum, side: int, n_sides: int) -> Iterator[Term]:
        """Yield the products of a sum: each reads a whole pack, through a kernel that takes a plane to its side."""
        c_out = op.output.shape[1]
        for plane, kernel, part in op.terms:
            pack, first = self._in_pack.get(plane.number, PackedPlane(plane, 0))
            corner = _corner(kernel, (first, pack.shape[1]), (side * c_out, n_sides * c_out))
            yield Term(pack, corner, part)

    def _repeated(self, bias: Constant) -> Constant:
        return self._builder.constant(f"{bias.name}@{N_PACKED}", np.tile(self._builder.value(bias), N_PACKED))

    # -- everything else --------------------------------------------------------------------------------------

    def _operation(self, op: Op) -> None:
        packed = self._done_together(op)
        if packed is None:
            self._builder.copy(op)
        else:
            self._cut(op.output, packed)

    def _done_together(self, op: Op) -> PackedPlane | None:
        """Do an operation for the whole pack of a plane, or return None where that cannot be."""
        held = [entry for entry in op.inputs if isinstance(entry, Plane) and entry.number in self._in_pack]
        places = {(self._in_pack[plane.number].first, self._in_pack[plane.number].pack.shape[1]) for plane in held}
        if len(places) != 1 or not (op.kind in _CHANNELWISE or self._leaves_alike(op, held)):
            return None
        [(first, n_channels)] = places
        shape = (op.output.shape[0], n_channels, *op.output.shape[2:])
        inputs = [self._pack_of(entry) for entry in op.inputs]
        return PackedPlane(self._builder.once(op.kind, inputs, shape, attributes=op.attributes, cheap=op.cheap), first)

    @staticmethod
    def _leaves_alike(op: Op, held: Sequence[Plane]) -> bool:
        """Return whether a pointwise operation reads planes of its own shape, and single numbers besides."""
        others = [entry for entry in op.inputs if entry not in held and entry is not None]
        alike = all(plane.shape == op.output.shape for plane in held)
        return op.kind in _FINITE and alike and all(np.prod(entry.shape) == 1 for entry in others)

    def _pack_of(self, entry: Operand) -> Operand:
        return self._in_pack[entry.number].pack if isinstance(entry, Plane) and entry.number in self._in_pack else entry

    def _cut(self, plane: Plane, packed: PackedPlane) -> None:
        """Take a plane from its pack, for what works on single planes; never kept between steps, as the pack is."""
        self._in_pack[plane.number] = packed
        ends = (packed.first, packed.first + plane.shape[1], 1)
        given = [self._builder.constant(f"index_{i}", np.array([i], np.int64)) for i in ends]
        self._builder.add("Slice", [packed.pack, *given], plane.shape, output=plane, cheap=True)

    def _alone(self, plane: Plane) -> Plane:
        """Return a plane that is kept, as results are."""
        return self._builder.add("Identity", [plane], plane.shape) if plane.number in self._in_pack else plane


def _corner(kernel: Kernel, inputs: tuple[int, int], outputs: tuple[int, int]) -> Kernel:
    """Return a kernel for packs: it reads some channels, writes some, and leaves the others alone.

    Parameters
    ----------
    inputs, outputs : the first channel of a plane, and the number of channels of its pack
    """
    c_out, c_in, *rest = kernel.weight.shape
    (first_in, n_in), (first_out, n_out) = inputs, outputs
    if (c_out, c_in) == (n_out, n_in):
        return kernel
    weight = np.zeros((n_out, n_in, *rest), np.float32)
    weight[first_out : first_out + c_out, first_in : first_in + c_in] = kernel.weight
    return Kernel(f"{kernel.name}@{first_out}/{n_out},{first_in}/{n_in}", weight)
