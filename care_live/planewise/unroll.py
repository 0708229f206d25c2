"""From the network to its program: how each operator moves along z.

One rule an operator: pointwise ones leave every plane where it is, windows slide over planes, an upsampling spreads
them, a join puts channels together. The rest is refused. The order in which a plane's products are summed depends on
the network and the number of planes alone, never on how the planes come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from care_live.planewise import conv
from care_live.planewise.builder import ProgramBuilder
from care_live.planewise.frontend import RANK, NetworkNode, SizedNetwork, Unstreamable, Z
from care_live.planewise.ir import (
    POINTWISE,
    Constant,
    Operand,
    Plane,
    PlaneLayer,
    PlaneSum,
    Program,
    Shape,
    Target,
    Term,
    merged,
    narrowed,
)
from care_live.planewise.motion import Spread

_LEADING = ("Slice", "Unsqueeze", "Squeeze", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
_NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def unroll(
    network: SizedNetwork, sources: Sequence[int | None], wanted: slice = slice(None), *, target: Target
) -> Program:
    """Write a network out plane by plane.

    Parameters
    ----------
    sources
        For each plane that the network sees, which recorded plane it is; None is a plane of zeros.
    wanted
        Planes of the outputs; the others are padding.
    target
        What the program is compiled for.

    Raises
    ------
    Unstreamable
        An operator mixes planes in a way that has no rule here.
    """
    return _Unrolling(network, sources, target).program(wanted)


class _Unrolling:
    def __init__(self, network: SizedNetwork, sources: Sequence[int | None], target: Target) -> None:
        self.network = network
        self.builder = ProgramBuilder(target)
        self.planes: dict[str, tuple[Plane, ...]] = {"raw": self._raw_planes(sources)}
        self.parts: dict[int, tuple[tuple[Plane, int], ...]] = {}
        """Of a plane that is a join of channels: its parts, and the channel at which each begins."""
        self.expanded: dict[str, str] = {}
        """Expanded values, by what they were expanded from."""
        self.still: dict[str, Plane] = {
            name: self.builder.input(name, network.shapes[name], 0) for name in ("low", "high")
        }
        """Values that are the same for every plane."""

    def program(self, wanted: slice) -> Program:
        for node in self.network.nodes:
            if self.network.moving.intersection(node.inputs):
                self._rule(node.op)(self, node)
                self._note_layer(node)
            else:
                self._copy_still(node)
        return self.builder.program({name: self.planes[name][wanted] for name in self.network.outputs})

    def _rule(self, op: str) -> Callable[[_Unrolling, NetworkNode], None]:
        if op in POINTWISE:
            return _Unrolling._pointwise
        if op not in _RULES:
            raise Unstreamable(f"operator {op} has no rule along z: the network runs on whole volumes")
        return _RULES[op]

    def _raw_planes(self, sources: Sequence[int | None]) -> tuple[Plane, ...]:
        shape = self.network.plane_shape("raw")
        return tuple(
            self.builder.input("zeros", shape, 0) if z is None else self.builder.input(z, shape, z + 1) for z in sources
        )

    def _note_layer(self, node: NetworkNode) -> None:
        name, sources = node.outputs[0], tuple(name for name in node.inputs if name in self.network.moving)
        if len(self.network.shapes[name]) != RANK:
            return
        weight = self.network.constants.get(node.inputs[1]) if node.op in ("Conv", "ConvTranspose") else None
        reach = 1 if weight is None else weight.shape[2]
        mixes = weight is not None and node.attributes.get("group", 1) == 1
        self.builder.layers[name] = PlaneLayer(
            node.op, sources, self.network.n_planes(name), self.network.shapes[name][1], reach, mixes
        )

    # -- what is the same for every plane ---------------------------------------------------------------------

    def _copy_still(self, node: NetworkNode) -> None:
        """An operation on low and high alone is done again in every step that needs it."""
        if len(node.outputs) != 1:
            raise Unstreamable(f"{node.op} gives {len(node.outputs)} values")
        name = node.outputs[0]
        if node.op == "Expand":  # what reads it is broadcast anyway; `_pointwise` checks
            self.expanded[name] = node.inputs[0]
            return
        inputs = [self.still.get(name) or self._constant(name) for name in node.inputs]
        shape = self.network.shapes[name]
        self.still[name] = self.builder.add(node.op, inputs, shape, attributes=node.attributes, cheap=True)

    def _constant(self, name: str) -> Constant | None:
        return self.builder.constant(name, self.network.constants[name]) if name else None

    def _operand(self, name: str, plane: int) -> Operand:
        """Return what a pointwise operation reads at one plane."""
        name = self.expanded.get(name, name)
        if name in self.planes:
            return self.planes[name][plane]
        shape = self.network.shapes.get(name, ())
        z = len(shape) + Z
        if z < 0:
            return self.still.get(name) or self._constant(name)
        if name not in self.still:
            return self._constant_plane(name, plane, z)
        if shape[z] != 1:
            raise Unstreamable(f"{name} of shape {shape} differs from plane to plane")
        axes = self.builder.constant(f"index_{z}", np.array([z], np.int64))
        return self.builder.once("Squeeze", [self.still[name], axes], shape[:z] + shape[z + 1 :], cheap=True)

    def _constant_plane(self, name: str, plane: int, z: int) -> Constant:
        whole = self.network.constants[name]
        first = whole.take(0, axis=z)
        if whole.shape[z] == 1 or (whole == np.expand_dims(first, z)).all():
            return self.builder.constant(f"{name}@flat", first)
        return self.builder.constant(f"{name}@{plane}", whole.take(plane, axis=z))

    # -- pointwise, and what only touches axes in front of z ----------------------------------------------------

    def _pointwise(self, node: NetworkNode) -> None:
        tensor = node.outputs[0]
        n_planes, shape = self.network.n_planes(tensor), self.network.plane_shape(tensor)
        for name in self.network.moving.intersection(node.inputs):
            if self.network.n_planes(name) != n_planes:
                raise Unstreamable(f"{node.op} meets {name} with another number of planes")
        rows = [[self._operand(name, z) for name in node.inputs] for z in range(n_planes)]
        if node.op in POINTWISE and np.broadcast_shapes(*map(_shape, rows[0])) != shape:
            raise Unstreamable(f"{node.op} {tensor} gets its size from an expanded value")
        self.planes[tensor] = tuple(self.builder.add(node.op, row, shape, attributes=node.attributes) for row in rows)

    def _join(self, node: NetworkNode) -> None:
        """Concatenate channels; convolutions read the parts, so that the whole is rarely made at all."""
        rank = len(self.network.shapes[node.outputs[0]])
        axis = node.attributes["axis"] % rank
        self._refuse_planes(node, [axis], rank)
        self._pointwise(NetworkNode(node.op, node.inputs, node.outputs, {"axis": axis}))
        widths = [self.network.shapes[name][axis] for name in node.inputs]
        firsts = [sum(widths[:i]) for i in range(len(widths))]
        for z, joined in enumerate(self.planes[node.outputs[0]]):
            planes = [self.planes[name][z] for name in node.inputs if name in self.planes]
            if (rank, axis) == (RANK, 1) and len(planes) == len(widths):
                self.parts[joined.number] = tuple(zip(planes, firsts, strict=True))

    def _along_leading(self, node: NetworkNode) -> None:
        """Apply slices, sums and new axes that leave the planes as they are: only axes in front of z change."""
        place = 3 if node.op == "Slice" else 1
        given = node.attributes.get("axes")
        if given is None and len(node.inputs) > place and node.inputs[place] in self.network.constants:
            given = self.network.constants[node.inputs[place]].tolist()
        if not given or min(given) < 0:
            raise Unstreamable(f"{node.op} {node.outputs[0]} does not count its axes from the first")
        longer = node.outputs[0] if node.op == "Unsqueeze" else node.inputs[0]
        self._refuse_planes(node, given, len(self.network.shapes[longer]))
        self._pointwise(node)

    def _refuse_planes(self, node: NetworkNode, axes: Sequence[int], rank: int) -> None:
        if any(axis >= rank + Z for axis in axes):
            raise Unstreamable(f"{node.op} {node.outputs[0]} works along axes {list(axes)}, across planes or in them")

    # -- windows and spreads --------------------------------------------------------------------------------------

    def _convolve(self, node: NetworkNode) -> None:
        self._sum(node, conv.convolution(node, self._weight(node)))

    def _convolve_transposed(self, node: NetworkNode) -> None:
        self._sum(node, conv.transposed_convolution(node, self._weight(node)))

    def _weight(self, node: NetworkNode) -> NDArray[np.float32]:
        weight = self.network.constants.get(node.inputs[1])
        if weight is None or weight.ndim != RANK:
            raise Unstreamable(f"the weights of {node.op} {node.outputs[0]} are not constant 3D kernels")
        return weight

    def _sum(self, node: NetworkNode, apart: conv.PlaneKernels) -> None:
        """Write every output plane of a convolution as a plane sum."""
        tensor = node.outputs[0]
        source = [self._upsampled(plane, apart.factors) for plane in self.planes[node.inputs[0]]]
        bias = self._constant(node.inputs[2]) if len(node.inputs) > 2 else None
        planes = []
        for z in range(self.network.n_planes(tensor)):
            terms = merged(
                term
                for tap in apart.motion.taps(z, len(source))
                for term in self._terms(source[tap.plane], apart, tap.kernel)
            )
            if not terms:
                raise Unstreamable(f"plane {z} of {tensor} reads no plane")
            empty = Plane(-1, self.network.plane_shape(tensor), 0)
            planes.append(self.builder.sum(PlaneSum(terms, bias, empty, apart.placing, tensor, z)))
        self.planes[tensor] = tuple(planes)

    def _terms(self, plane: Plane, apart: conv.PlaneKernels, tap: int) -> list[Term]:
        """Return what one input plane adds; of a join, what each of its parts adds."""
        kernel = apart.kernels[tap]
        if not apart.placing.mixes:
            return [Term(plane, kernel)]
        return [
            Term(part, narrowed(kernel, first, part.shape[1]), first)
            for part, first in self.parts.get(plane.number, ((plane, 0),))
        ]

    def _upsampled(self, plane: Plane, factors: Shape) -> Plane:
        """Return a plane upsampled to its nearest neighbours by factors (y, x)."""
        if set(factors) == {1}:
            return plane
        n, c, y, x = plane.shape
        scales = self.builder.constant(f"factors_{factors[0]}x{factors[1]}", np.array([1, 1, *factors], np.float32))
        shape = (n, c, y * factors[0], x * factors[1])
        return self.builder.once("Resize", [plane, None, scales], shape, attributes=_NEAREST, cheap=True)

    def _resize(self, node: NetworkNode) -> None:
        source, tensor = self.planes[node.inputs[0]], node.outputs[0]
        before, after = self.network.shapes[node.inputs[0]], self.network.shapes[tensor]
        factors = tuple(wide // narrow for narrow, wide in zip(before, after, strict=True))
        nearest = node.attributes.get("mode", b"nearest") == b"nearest"
        ways = (
            node.attributes.get("coordinate_transformation_mode", b"half_pixel"),
            node.attributes.get("nearest_mode", b"round_prefer_floor"),
        )
        known = ways == (b"asymmetric", b"floor") or (ways[0] == b"half_pixel" and ways[1].startswith(b"round_prefer"))
        exact = all(narrow * factor == wide for narrow, factor, wide in zip(before, factors, after, strict=True))
        if not (nearest and known and exact and set(factors[:Z]) == {1}):
            raise Unstreamable(f"Resize {tensor} is not a nearest-neighbour upsampling by whole numbers")
        motion = Spread(factors[Z], factors[Z])
        self.planes[tensor] = tuple(
            self._upsampled(source[motion.taps(z, len(source))[0].plane], factors[Z + 1 :]) for z in range(after[Z])
        )

    def _pool(self, node: NetworkNode) -> None:
        """Pool each plane once, then combine the planes of each window."""
        motion, placing, combine = conv.pooling(node)
        tensor, source = node.outputs[0], self.planes[node.inputs[0]]
        n_planes, shape = self.network.n_planes(tensor), self.network.plane_shape(tensor)
        flat = [self.builder.once(node.op, [plane], shape, attributes=placing) for plane in source]
        windows = ([flat[tap.plane] for tap in motion.taps(z, len(source))] for z in range(n_planes))
        self.planes[tensor] = tuple(
            window[0] if len(window) == 1 else self.builder.add(combine, window, shape) for window in windows
        )


_RULES: dict[str, Callable[[_Unrolling, NetworkNode], None]] = {
    "Conv": _Unrolling._convolve,
    "ConvTranspose": _Unrolling._convolve_transposed,
    "MaxPool": _Unrolling._pool,
    "AveragePool": _Unrolling._pool,
    "Resize": _Unrolling._resize,
    "Concat": _Unrolling._join,
    **dict.fromkeys(_LEADING, _Unrolling._along_leading),
}


def _shape(operand: Operand) -> Shape:
    return () if operand is None else operand.shape
