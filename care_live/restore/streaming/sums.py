"""A 3D convolution as sums of 2D ones: kernels, terms, and the operations that add them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live.model import rewrite
from care_live.restore.streaming.network import Node, Shape, Unstreamable
from care_live.restore.streaming.program import Program, Value
from care_live.restore.streaming.timeline import Motion, Spread, Window

_FEW_CHANNELS = 4
"""Planes with at most so many channels are joined before a convolution: a sum of several convolutions would
write its output several times for hardly any work."""


class Kernel(NamedTuple):
    """One plane of a 3D kernel."""

    name: str
    weight: NDArray[np.float32]
    """(c_out, c_in, ky, kx), or (c_in, c_out, ky, kx) of a transposed convolution."""


class Term(NamedTuple):
    """One summand of a convolution's output plane."""

    value: Value
    kernel: Kernel
    part: int = 0
    """First channel of the kernel's input that the value stands for: terms of one part read planes of one tensor."""


def convolution(node: Node, weight: NDArray[np.float32]) -> tuple[list[Kernel], Motion, dict[str, Any]]:
    """Return the 2D kernels of a convolution, how it moves along z, and its attributes in the plane."""
    strides, pads = _placing(node, weight.shape[2:])
    motion = Window(weight.shape[2], strides[0], pads[0])
    return _kernels(node, weight), motion, _in_plane(node, strides, pads)


def transposed_convolution(node: Node, weight: NDArray[np.float32]) -> tuple[list[Kernel], Motion, dict[str, Any]]:
    """Return the same for a transposed convolution."""
    strides, pads = _placing(node, weight.shape[2:])
    if any(node.attributes.get("output_padding", ())) or "output_shape" in node.attributes:
        raise Unstreamable(f"the transposed convolution {node.outputs[0]} pads its output")
    return _kernels(node, weight), Spread(weight.shape[2], strides[0], pads[0]), _in_plane(node, strides, pads)


def upsampled_convolution(
    node: Node, weight: NDArray[np.float32]
) -> tuple[list[Kernel], Motion, dict[str, Any], Shape] | None:
    """Return a transposed convolution as upsampling in the plane and a plain convolution, where it is that."""
    kernels, motion, placing = transposed_convolution(node, weight)
    factors = placing["strides"]
    gathered = [rewrite.gathered_weight(kernel.weight, factors) for kernel in kernels]
    plain = [Kernel(f"{k.name}/plain", w) for k, w in zip(kernels, gathered, strict=True) if w is not None]
    if len(plain) < len(kernels) or placing["group"] != 1:
        return None
    centre = [size // 2 for size in plain[0].weight.shape[2:]]
    if list(placing["pads"]) != centre * 2:
        return None
    return plain, motion, {"strides": (1, 1), "pads": centre * 2, "group": 1}, factors


def pooling(node: Node) -> tuple[Motion, dict[str, Any], str]:
    """Return how a pooling moves along z, its attributes in the plane, and what combines planes."""
    size = tuple(node.attributes["kernel_shape"])
    strides, pads = _placing(node, size)
    if node.attributes.get("ceil_mode", 0) or len(node.outputs) > 1 or (node.op == "AveragePool" and any(pads)):
        raise Unstreamable(f"{node.op} {node.outputs[0]} is no plain pooling")
    placing = {"kernel_shape": size[1:], "strides": strides[1:], "pads": _without_z(pads)}
    return Window(size[0], strides[0], pads[0]), placing, "Max" if node.op == "MaxPool" else "Mean"


def narrowed(kernel: Kernel, first: int, n_channels: int) -> Kernel:
    """Return what a kernel does with some of its input's channels."""
    if n_channels == kernel.weight.shape[1]:
        return kernel
    return Kernel(f"{kernel.name}[{first}:{first + n_channels}]", kernel.weight[:, first : first + n_channels])


def add_term(terms: dict[str, Term], term: Term) -> None:
    """Add one product to a sum; values that are met twice (upsampled ones, blocks) are multiplied once."""
    value, kernel, part = term
    if (same := terms.get(value.name)) is not None:
        kernel = Kernel(f"{same.kernel.name}+{kernel.name}", same.kernel.weight + kernel.weight)
    terms[value.name] = Term(value, kernel, part)


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the output planes of one convolution."""

    target: Program
    op: str
    shape: Shape
    """(1, c, y, x) of an output plane."""
    placing: Mapping[str, Any]
    """Attributes of the convolution in the plane."""

    def write(self, terms: Sequence[Term], bias: Sequence[str], name: str, *, known: Value | None = None) -> Value:
        """Append the operations that compute one output plane, as soon as the last of its planes is there.

        Parameters
        ----------
        known : a part of the sum that is there already
        """
        summands: list[Term | Value] = [*([known] if known else ()), *_joined(self.target, self.op, terms, name)]
        summands.sort(key=_ready)  # last comes a product: onnxruntime adds the sum, and ReLU, while it writes that one
        due = max(map(_ready, summands))
        addends = self._products(summands, bias, name, due=due)
        total = addends[0]
        for i, addend in enumerate(addends[1:], 1):
            last = i == len(addends) - 1
            total = self.target.add("Add", [addend, total], name if last else f"{name}+{i}", self.shape, due=due)
        return total

    def _products(self, summands: Sequence[Term | Value], bias: Sequence[str], name: str, *, due: int) -> list[Value]:
        """Multiply every term with its kernel; the bias goes to the first of them."""
        addends: list[Value] = []
        for i, summand in enumerate(summands):
            if isinstance(summand, Value):
                addends.append(summand)
                continue
            value, (key, weight), _ = summand
            inputs: list[Value | str] = [value, self.target.constant(key, weight), *(bias if i == 0 else ())]
            pixels = self.shape if self.op == "Conv" else value.shape
            products = weight.size * pixels[-1] * pixels[-2] // self.placing["group"]
            own = name if len(summands) == 1 else f"{name}/{i}"
            addends.append(
                self.target.add(self.op, inputs, own, self.shape, attributes=self.placing, due=due, products=products)
            )
        return addends


def _ready(summand: Term | Value) -> int:
    return summand.ready if isinstance(summand, Value) else summand.value.ready


def _joined(target: Program, op: str, terms: Sequence[Term], name: str) -> Sequence[Term]:
    """Join planes of very few channels into one term."""
    if op != "Conv" or len(terms) == 1 or any(term.value.shape[1] > _FEW_CHANNELS for term in terms):
        return terms
    n, _, y, x = terms[0].value.shape
    width = sum(term.value.shape[1] for term in terms)
    values = [term.value for term in terms]
    joined = target.add("Concat", values, f"{name}/joined", (n, width, y, x), attributes={"axis": 1}, cheap=True)
    key = "|".join(term.kernel.name for term in terms)
    return [Term(joined, Kernel(key, np.concatenate([term.kernel.weight for term in terms], axis=1)))]


def _kernels(node: Node, weight: NDArray[np.float32]) -> list[Kernel]:
    return [Kernel(f"{node.inputs[1]}[{tap}]", weight[:, :, tap]) for tap in range(weight.shape[2])]


def _placing(node: Node, size: Shape) -> tuple[Shape, Shape]:
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


def _in_plane(node: Node, strides: Shape, pads: Shape) -> dict[str, Any]:
    return {"strides": strides[1:], "pads": _without_z(pads), "group": node.attributes.get("group", 1)}


def _without_z(pads: Shape) -> list[int]:
    return [*pads[1:3], *pads[4:6]]
