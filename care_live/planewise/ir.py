"""The intermediate representation: planes, the 2D operations between them, and sums of 2D convolutions.

Every plane has one maker. A `PlaneSum` is one output plane of a 3D convolution, ``out = Σ in·K + bias``. It stays a
sum until the pass ``expand`` writes it out, so that passes can share and pack its products.

``ready`` says after how many recorded planes a value can be computed at the earliest; ``due`` says when the sum that
it belongs to is complete. Between the two it may be done at any time, and `care_live.planewise.schedule` decides when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Shape: TypeAlias = tuple[int, ...]
Attributes: TypeAlias = tuple[tuple[str, Any], ...]
"""Of an operation, sorted by name."""
_POINTWISE_NAMES = """
    Abs Add And Cast Ceil Clip Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish
    Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mul Neg Not Or PRelu Pow Reciprocal
    Relu Round Selu Sigmoid Sign Softplus Softsign Sqrt Sub Sum Tanh ThresholdedRelu Where
"""
POINTWISE = frozenset(_POINTWISE_NAMES.split())
"""Operators that leave every plane where it is."""


class Plane(NamedTuple):
    """One plane of one tensor, or a value that is the same for every plane. Its number is its identity."""

    number: int
    shape: Shape
    """(1, c, y, x) of a plane."""
    ready: int
    """Recorded planes after which it can be computed."""


class Constant(NamedTuple):
    """A weight, or another array that is known beforehand. Equal names are equal constants."""

    name: str
    shape: Shape


Operand: TypeAlias = Plane | Constant | None
"""None: an optional input that is left out."""


class Op(NamedTuple):
    """One 2D operation."""

    kind: str
    """Its ONNX operator."""
    inputs: tuple[Operand, ...]
    output: Plane
    attributes: Attributes
    due: int
    cheap: bool
    """Rather computed again than kept from one step to the next."""
    products: int
    """Multiplications, for the cost."""
    outline: int = 0
    """Operations of one outline go into a graph of their own; 0: into that of their step."""


class Kernel(NamedTuple):
    """One plane of a 3D kernel."""

    name: str
    """Equal names are equal kernels."""
    weight: NDArray[np.float32]
    """(c_out, c_in, ky, kx), or (c_in, c_out, ky, kx) of a transposed convolution."""


class Term(NamedTuple):
    """One product of a plane sum."""

    plane: Plane
    kernel: Kernel
    part: int = 0
    """First channel of the kernel's input that the plane stands for: terms of one part read planes of one tensor."""


class Placing(NamedTuple):
    """How a 2D convolution lies in the plane."""

    kind: str
    """Conv or ConvTranspose."""
    strides: Shape
    pads: Shape
    group: int

    @property
    def mixes(self) -> bool:
        """Every output channel reads every input channel, through a kernel (c_out, c_in, ky, kx)."""
        return self.kind == "Conv" and self.group == 1

    @property
    def attributes(self) -> dict[str, Any]:
        return {"strides": self.strides, "pads": self.pads, "group": self.group}


class PlaneSum(NamedTuple):
    """One output plane of a 3D convolution, or a part of it."""

    terms: tuple[Term, ...]
    bias: Constant | None
    output: Plane
    placing: Placing
    layer: str = ""
    """The tensor of the network that the output is a plane of; empty: it is a plane of none."""
    z: int = 0
    """Of the output in its tensor."""
    known: Plane | None = None
    """A part of the sum that is computed already."""


class PlaneLayer(NamedTuple):
    """What the planes of one tensor have in common, for passes that look along z."""

    kind: str
    """The ONNX operator that makes it."""
    sources: tuple[str, ...]
    """Tensors that it is made from."""
    n_planes: int
    n_channels: int
    reach: int
    """Input planes that one output plane of a convolution reads; 1 of everything else."""
    mixes: bool
    """A plain convolution of all channels with all channels."""


class Target(NamedTuple):
    """What a program is compiled for."""

    live: bool
    """Planes come one by one, and the result is wanted soon after the last: no plane waits for another one."""
    n_channels_at_once: int
    """Channels of float32 that a convolution of this processor works with at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Operations in computing order."""

    ops: tuple[Op | PlaneSum, ...]
    constants: Mapping[str, NDArray[Any]]
    inputs: Mapping[int | str, Plane]
    """Recorded planes by z; ``zeros``, ``low`` and ``high``."""
    results: Mapping[str, tuple[Plane, ...]]
    """Of each output of the network, its planes."""
    layers: Mapping[str, PlaneLayer]
    target: Target
    n_numbers: int
    """Numbers of planes that have been given."""

    @property
    def operations(self) -> tuple[Op, ...]:
        """The operations of a program without plane sums."""
        assert not any(isinstance(op, PlaneSum) for op in self.ops), "the pass expand comes before this"
        return tuple(op for op in self.ops if isinstance(op, Op))

    def __str__(self) -> str:
        """Return one line an operation, as ``%7 = Relu(%6)``."""
        given = [f"%{plane.number} = input {key} {_size(plane)}" for key, plane in self.inputs.items()]
        results = [f"{name} = {_listed(planes)}" for name, planes in self.results.items()]
        return "\n".join([*given, *map(_line, self.ops), *results])


def planes_read(op: Op | PlaneSum) -> list[Plane]:
    """Return the planes that an operation reads."""
    if isinstance(op, Op):
        return [entry for entry in op.inputs if isinstance(entry, Plane)]
    known = [] if op.known is None else [op.known]
    return [*known, *[term.plane for term in op.terms]]


def _line(op: Op | PlaneSum) -> str:
    if isinstance(op, PlaneSum):
        terms = [f"%{term.plane.number}·{term.kernel.name}" for term in op.terms]
        known = [f"%{op.known.number}"] if op.known else []
        return f"%{op.output.number} = {' + '.join([*known, *terms])} {op.placing.kind} {_size(op.output)}"
    given = ", ".join(_operand(entry) for entry in op.inputs)
    return f"%{op.output.number} = {op.kind}({given}) {_size(op.output)}{' cheap' if op.cheap else ''}"


def _operand(entry: Operand) -> str:
    if entry is None:
        return "-"
    return f"%{entry.number}" if isinstance(entry, Plane) else entry.name


def _size(plane: Plane) -> str:
    return "x".join(map(str, plane.shape)) + f" ready={plane.ready}"


def _listed(planes: Sequence[Plane]) -> str:
    return " ".join(f"%{plane.number}" for plane in planes)


def narrowed(kernel: Kernel, first: int, n_channels: int) -> Kernel:
    """Return what a kernel does with some of its input's channels."""
    if n_channels == kernel.weight.shape[1]:
        return kernel
    return Kernel(f"{kernel.name}[{first}:{first + n_channels}]", kernel.weight[:, first : first + n_channels])


def merged(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Return terms of which each reads another plane: ``x·a + x·b = x·(a + b)``."""
    found: dict[int, Term] = {}
    for plane, kernel, part in terms:
        if (same := found.get(plane.number)) is not None:
            kernel = Kernel(f"{same.kernel.name}+{kernel.name}", same.kernel.weight + kernel.weight)  # noqa: PLW2901
        found[plane.number] = Term(plane, kernel, part)
    return tuple(found.values())
