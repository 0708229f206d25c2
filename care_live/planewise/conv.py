"""A 3D convolution as plane sums: its 2D kernels, how it moves along z, and a plane sum written out.

Output plane z of a convolution with kernel planes K is ``Σ_k in[z·step - pad + k]·K[k] + bias``: a sum of 2D
convolutions. Planes outside the stack are zero and are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live.model import rewrite
from care_live.planewise.builder import ProgramBuilder
from care_live.planewise.frontend import NetworkNode, Unstreamable
from care_live.planewise.ir import Kernel, Placing, Plane, PlaneSum, Shape, Term
from care_live.planewise.motion import Motion, SlidingWindow, Spread

_FEW_CHANNELS = 4
"""Planes of at most this many channels are joined before a convolution: a sum of several convolutions would write its
output several times for hardly any work."""


class PlaneKernels(NamedTuple):
    """A 3D kernel taken apart along z."""

    kernels: Sequence[Kernel]
    motion: Motion
    placing: Placing
    factors: Shape = (1, 1)
    """By which the input is upsampled in the plane first, to its nearest neighbours."""


def convolution(node: NetworkNode, weight: NDArray[np.float32]) -> PlaneKernels:
    """Take a convolution apart."""
    strides, pads = _placing(node, weight.shape[2:])
    return PlaneKernels(
        _kernels(node, weight),
        SlidingWindow(weight.shape[2], strides[0], pads[0]),
        _in_plane(node, "Conv", strides, pads),
    )


def transposed_convolution(node: NetworkNode, weight: NDArray[np.float32]) -> PlaneKernels:
    """Take a transposed convolution apart; where it equals an upsampled convolution, use that: a CPU does it faster."""
    strides, pads = _placing(node, weight.shape[2:])
    if any(node.attributes.get("output_padding", ())) or "output_shape" in node.attributes:
        raise Unstreamable(f"the transposed convolution {node.outputs[0]} pads its output")
    placing = _in_plane(node, "ConvTranspose", strides, pads)
    apart = PlaneKernels(_kernels(node, weight), Spread(weight.shape[2], strides[0], pads[0]), placing)
    return _upsampled(apart) or apart


def pooling(node: NetworkNode) -> tuple[Motion, dict[str, Any], str]:
    """Return how a pooling moves along z, its attributes in the plane, and what combines planes."""
    size = tuple(node.attributes["kernel_shape"])
    strides, pads = _placing(node, size)
    if node.attributes.get("ceil_mode", 0) or len(node.outputs) > 1 or (node.op == "AveragePool" and any(pads)):
        raise Unstreamable(f"{node.op} {node.outputs[0]} is not a plain pooling")
    placing = {"kernel_shape": size[1:], "strides": strides[1:], "pads": _without_z(pads)}
    return SlidingWindow(size[0], strides[0], pads[0]), placing, "Max" if node.op == "MaxPool" else "Mean"


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


def expand(builder: ProgramBuilder, whole: PlaneSum) -> None:
    """Write a plane sum out: one convolution a term, and additions.

    A sum is computed in one go, as soon as the last of its planes is there. Last comes a product: onnxruntime adds the
    sum, and applies ReLU, while it writes that one.
    """
    terms = [Term(builder.newest(term.plane), *term[1:]) for term in whole.terms]
    known = [] if whole.known is None else [builder.newest(whole.known)]
    summands: list[Term | Plane] = [*known, *_joined(builder, whole.placing, terms)]
    summands.sort(key=_ready)
    due = max(map(_ready, summands))
    if len(summands) == 1:
        _product(builder, whole, summands[0], due=due, bias=True, output=whole.output)
        return
    addends = [_product(builder, whole, summand, due=due, bias=i == 0) for i, summand in enumerate(summands)]
    total = addends[0]
    for addend in addends[1:]:
        output = whole.output if addend is addends[-1] else None
        total = builder.add("Add", [addend, total], whole.output.shape, output=output, due=due)


def _product(
    builder: ProgramBuilder,
    whole: PlaneSum,
    summand: Term | Plane,
    *,
    due: int,
    bias: bool,
    output: Plane | None = None,
) -> Plane:
    """Multiply a term with its kernel; the bias goes to the first of them."""
    if isinstance(summand, Plane):
        return builder.add("Identity", [summand], summand.shape, output=output, due=due) if output else summand
    placing, shape, (plane, (name, weight), _) = whole.placing, whole.output.shape, summand
    pixels = shape if placing.kind == "Conv" else plane.shape
    return builder.add(
        placing.kind,
        [plane, builder.constant(name, weight), *([whole.bias] if bias and whole.bias else [])],
        shape,
        output=output,
        attributes=placing.attributes,
        due=due,
        products=weight.size * pixels[-1] * pixels[-2] // placing.group,
    )


def _ready(summand: Term | Plane) -> int:
    return summand.ready if isinstance(summand, Plane) else summand.plane.ready


def _joined(builder: ProgramBuilder, placing: Placing, terms: Sequence[Term]) -> Sequence[Term]:
    """Join planes of very few channels into one term."""
    if placing.kind != "Conv" or len(terms) < 2 or any(term.plane.shape[1] > _FEW_CHANNELS for term in terms):
        return terms
    n, _, y, x = terms[0].plane.shape
    width = sum(term.plane.shape[1] for term in terms)
    joined = builder.add("Concat", [term.plane for term in terms], (n, width, y, x), attributes={"axis": 1}, cheap=True)
    name = "|".join(term.kernel.name for term in terms)
    return [Term(joined, Kernel(name, np.concatenate([term.kernel.weight for term in terms], axis=1)))]


def _upsampled(apart: PlaneKernels) -> PlaneKernels | None:
    """Return a transposed convolution as upsampling in the plane and a plain convolution, where it is that."""
    factors = apart.placing.strides
    gathered = [rewrite.gathered_weight(kernel.weight, factors) for kernel in apart.kernels]
    plain = [Kernel(f"{k.name}/plain", w) for k, w in zip(apart.kernels, gathered, strict=True) if w is not None]
    if len(plain) < len(apart.kernels) or apart.placing.group != 1:
        return None
    centre = tuple(size // 2 for size in plain[0].weight.shape[2:])
    if apart.placing.pads != centre * 2:
        return None
    return PlaneKernels(plain, apart.motion, Placing("Conv", (1, 1), centre * 2, 1), factors)


def _kernels(node: NetworkNode, weight: NDArray[np.float32]) -> list[Kernel]:
    return [Kernel(f"{node.inputs[1]}[{tap}]", weight[:, :, tap]) for tap in range(weight.shape[2])]


def _placing(node: NetworkNode, size: Shape) -> tuple[Shape, Shape]:
    """Return strides and pads (z, y, x, then z, y, x again)."""
    auto = node.attributes.get("auto_pad", b"NOTSET")
    strides = tuple(node.attributes.get("strides", (1, 1, 1)))
    if any(step != 1 for step in node.attributes.get("dilations", ())):
        raise Unstreamable(f"{node.op} {node.outputs[0]} is dilated")
    if auto in (b"SAME_UPPER", b"SAME_LOWER") and set(strides) == {1} and all(n % 2 for n in size):
        return strides, tuple(n // 2 for n in size) * 2
    if auto not in (b"NOTSET", b"VALID"):
        raise Unstreamable(f"{node.op} {node.outputs[0]} leaves its padding to the library ({auto.decode()})")
    return strides, tuple(node.attributes.get("pads", (0,) * 6)) if auto == b"NOTSET" else (0,) * 6


def _in_plane(node: NetworkNode, kind: str, strides: Shape, pads: Shape) -> Placing:
    return Placing(kind, tuple(strides[1:]), _without_z(pads), node.attributes.get("group", 1))


def _without_z(pads: Shape) -> Shape:
    return (*pads[1:3], *pads[4:6])
