"""From the network to its program: how each operation moves along z.

The order in which a plane's products are summed depends on the network and the number of planes alone,
and on whether anybody waits for single planes, never on how they come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.restore.streaming import sums
from care_live.restore.streaming.blocks import Blocks, Seat, n_channels_at_once
from care_live.restore.streaming.convolve import Convolution, Convolutions, Part
from care_live.restore.streaming.network import RANK, Network, Node, Shape, Unstreamable, Z
from care_live.restore.streaming.planes import Planes
from care_live.restore.streaming.program import Program, Value, without_dead
from care_live.restore.streaming.staggering import starts
from care_live.restore.streaming.timeline import Motion, Spread

_POINTWISE_NAMES = """
    Abs Add And Cast Ceil Clip Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish
    Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mul Neg Not Or PRelu Pow Reciprocal
    Relu Round Selu Sigmoid Sign Softplus Softsign Sqrt Sub Sum Tanh ThresholdedRelu Where
"""
"""Operations that leave every plane where it is."""
_LEADING = ("Slice", "Unsqueeze", "Squeeze", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
_POINTWISE = frozenset(_POINTWISE_NAMES.split())
_FINITE = _POINTWISE - {"Div", "Exp", "Log", "Pow", "Reciprocal"}
"""Those that make no infinity of a number: in a block, where there is no plane, it would not vanish times zero."""


def lower(
    network: Network,
    sources: Sequence[int | None],
    wanted: slice = slice(None),
    *,
    wait: bool = False,
    n_at_once: int | None = None,
) -> Program:
    """Write a network out plane by plane.

    Parameters
    ----------
    sources
        For each plane that the network sees, which recorded plane it is; None is a plane of zeros.
    wanted
        Planes of the outputs; the others are padding.
    wait
        A plane may wait for the next one where that saves work: nobody looks at it before the volume is whole.
    n_at_once
        Channels that a convolution works with at once; None: as this processor does.

    Raises
    ------
    Unstreamable
        An operation mixes planes in a way that is not in the table.
    """
    return _Lowering(network, sources, wait=wait, n_at_once=n_at_once or n_channels_at_once()).program(wanted)


class _Lowering:
    def __init__(self, network: Network, sources: Sequence[int | None], *, wait: bool, n_at_once: int) -> None:
        self.network = network
        self.target = Program()
        self.planes: dict[str, tuple[Value, ...]] = {"raw": self._raw_planes(sources)}
        self.parts: dict[str, tuple[Part, ...]] = {}
        """Of a joined value, by its name."""
        self.made, self.blocks = Planes(self.target), Blocks(self.target)
        self.convolutions = Convolutions(self.target, self.made, self.blocks, self.parts, wait=wait)
        self.starts = starts(network, n_at_once)
        """Of the tensors that are kept in blocks."""
        self.spread: dict[str, str] = {}
        """Expanded values, by what they were expanded from."""
        self.still: dict[str, Value] = {
            name: self.target.input(name, network.shapes[name], 0) for name in ("low", "high")
        }

    def program(self, wanted: slice) -> Program:
        for node in self.network.nodes:
            if self.network.moving.intersection(node.inputs):
                self._table(node.op)(self, node)
            else:
                self._copy_still(node)
        self.target.results = {
            name: tuple(map(self.blocks.alone, self.planes[name][wanted])) for name in self.network.outputs
        }
        return without_dead(self.target)

    def _table(self, op: str) -> Callable[[_Lowering, Node], None]:
        if op in _POINTWISE:
            return _Lowering._pointwise
        if op not in _TABLE:
            raise Unstreamable(f"nobody knows how {op} moves along z")
        return _TABLE[op]

    def _raw_planes(self, sources: Sequence[int | None]) -> tuple[Value, ...]:
        shape = self.network.plane_shape("raw")
        zeros = "raw@zeros"
        return tuple(
            self.target.input(zeros, shape, 0) if z is None else self.target.input(f"raw@{z}", shape, z + 1)
            for z in sources
        )

    def _copy_still(self, node: Node) -> None:
        """An operation on low and high alone is done again in every step that needs it."""
        if len(node.outputs) != 1:
            raise Unstreamable(f"{node.op} gives {len(node.outputs)} values")
        name = node.outputs[0]
        if node.op == "Expand":  # what reads it is broadcast anyway; `_pointwise` checks
            self.spread[name] = node.inputs[0]
            return
        inputs = [self.still.get(name) or self._constant(name) for name in node.inputs]
        shape = self.network.shapes[name]
        self.still[name] = self.target.add(node.op, inputs, name, shape, attributes=node.attributes, cheap=True)

    def _constant(self, name: str) -> str:
        return self.target.constant(name, self.network.constants[name]) if name else ""

    def _operand(self, name: str, plane: int) -> Value | str:
        """Return what a pointwise operation reads at one plane."""
        name = self.spread.get(name, name)
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
        return self._flat(name, z)

    def _flat(self, name: str, z: int) -> Value:
        """Return what is the same for every plane without the axis of the planes; made once."""
        if (flat := f"{name}@flat") not in self.still:
            shape, axes = self.network.shapes[name], self.target.constant(f"index_{z}", np.array([z], np.int64))
            inputs: list[Value | str] = [self.still[name], axes]
            self.still[flat] = self.target.add("Squeeze", inputs, flat, shape[:z] + shape[z + 1 :], cheap=True)
        return self.still[flat]

    def _constant_plane(self, name: str, plane: int, z: int) -> str:
        whole = self.network.constants[name]
        first = whole.take(0, axis=z)
        if whole.shape[z] == 1 or (whole == np.expand_dims(first, z)).all():
            return self.target.constant(f"{name}@flat", first)
        return self.target.constant(f"{name}@{plane}", whole.take(plane, axis=z))

    def _pointwise(self, node: Node) -> None:
        tensor = node.outputs[0]
        n_planes, shape = self.network.n_planes(tensor), self.network.plane_shape(tensor)
        for name in self.network.moving.intersection(node.inputs):
            if self.network.n_planes(name) != n_planes:
                raise Unstreamable(f"{node.op} meets {name} with another number of planes")
        rows = [[self._operand(name, z) for name in node.inputs] for z in range(n_planes)]
        if node.op in _POINTWISE and np.broadcast_shapes(*map(self.target.shape, rows[0])) != shape:
            raise Unstreamable(f"{node.op} {tensor} gets its size from an expanded value")
        self.planes[tensor] = tuple(self._alike(node, row, f"{tensor}@{z}", shape) for z, row in enumerate(rows))

    def _alike(self, node: Node, row: Sequence[Value | str], name: str, shape: Shape) -> Value:
        """Write an operation for one plane, or for its whole block."""
        held = [value for value in row if isinstance(value, Value) and self.blocks.holds(value)]
        common = self.blocks.common(held) if {value.shape for value in held} == {shape} else None
        others = (operand for operand in row if operand not in held)
        if common is None or node.op not in _FINITE or any(np.prod(self.target.shape(o)) != 1 for o in others):
            return self.target.add(node.op, row, name, shape, attributes=node.attributes)
        first, wide = common
        blocks = [self.blocks.seat(operand).block if isinstance(operand, Value) else operand for operand in row]
        read = "&".join(operand.name for operand in blocks if isinstance(operand, Value))
        made = self.blocks.once(node.op, blocks, f"{node.outputs[0]}@{read}", wide, attributes=node.attributes)
        return self.blocks.cut(Seat(made, first), shape[1], name)

    def _join(self, node: Node) -> None:
        """Concat over channels; convolutions read its parts, so that it is rarely made at all."""
        rank = len(self.network.shapes[node.outputs[0]])
        axis = node.attributes["axis"] % rank
        self._refuse_planes(node, [axis], rank)
        self._pointwise(Node(node.op, node.inputs, node.outputs, {"axis": axis}))
        widths = [self.network.shapes[name][axis] for name in node.inputs]
        firsts = [sum(widths[:i]) for i in range(len(widths))]
        for z, joined in enumerate(self.planes[node.outputs[0]]):
            values = [self.planes[name][z] for name in node.inputs if name in self.planes]
            if (rank, axis) == (RANK, 1) and len(values) == len(widths):
                self.parts[joined.name] = tuple(map(Part, values, firsts))

    def _along_leading(self, node: Node) -> None:
        """Slices, sums and new axes that leave the planes alone: only axes in front of z are touched."""
        place = 3 if node.op == "Slice" else 1
        given = node.attributes.get("axes")
        if given is None and len(node.inputs) > place and node.inputs[place] in self.network.constants:
            given = self.network.constants[node.inputs[place]].tolist()
        if not given or min(given) < 0:
            raise Unstreamable(f"{node.op} {node.outputs[0]} does not say which axes it means, counted from the first")
        longer = node.outputs[0] if node.op == "Unsqueeze" else node.inputs[0]
        self._refuse_planes(node, given, len(self.network.shapes[longer]))
        self._pointwise(node)

    def _refuse_planes(self, node: Node, axes: Sequence[int], rank: int) -> None:
        if any(axis >= rank + Z for axis in axes):
            raise Unstreamable(f"{node.op} {node.outputs[0]} works along axes {list(axes)}, across planes or in them")

    def _convolve(self, node: Node) -> None:
        kernels, motion, placing = sums.convolution(node, self._weight(node))
        self._sum(node, kernels, motion, op="Conv", placing=placing)

    def _convolve_transposed(self, node: Node) -> None:
        """A transposed convolution that is an upsampled convolution is done as such: a CPU is faster at it."""
        weight = self._weight(node)
        if (upsampled := sums.upsampled_convolution(node, weight)) is not None:
            kernels, motion, placing, factors = upsampled
            self._sum(node, kernels, motion, op="Conv", placing=placing, factors=factors)
        else:
            kernels, motion, placing = sums.transposed_convolution(node, weight)
            self._sum(node, kernels, motion, op="ConvTranspose", placing=placing)

    def _weight(self, node: Node) -> NDArray[np.float32]:
        weight = self.network.constants.get(node.inputs[1])
        if weight is None or weight.ndim != RANK:
            raise Unstreamable(f"the weights of {node.op} {node.outputs[0]} are no constant 3D kernels")
        return weight

    def _sum(
        self,
        node: Node,
        kernels: Sequence[sums.Kernel],
        motion: Motion,
        *,
        op: str,
        placing: Mapping[str, Any],
        factors: Shape = (1, 1),
    ) -> None:
        """Write every output plane of a convolution as a sum of 2D convolutions of input planes."""
        tensor = node.outputs[0]
        convolution = Convolution(
            tensor,
            op,
            kernels,
            motion,
            placing,
            tuple(self._constant(name) for name in node.inputs[2:]),
            self.network.plane_shape(tensor),
            self.network.n_planes(tensor),
            [self._upsampled(plane, factors) for plane in self.planes[node.inputs[0]]],
        )
        self.planes[tensor] = tuple(self.convolutions.written(convolution, self.starts.get(tensor)))

    def _upsampled(self, plane: Value, factors: Shape) -> Value:
        if set(factors) == {1}:
            return plane
        return self.blocks.through(plane, lambda block: self.made.upsampled(block, factors), f"{plane.name}@{factors}")

    def _resize(self, node: Node) -> None:
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
            raise Unstreamable(f"Resize {tensor} is no upsampling to nearest neighbours by whole numbers")
        motion = Spread(factors[Z], factors[Z])
        self.planes[tensor] = tuple(
            self._upsampled(source[motion.taps(z, len(source))[0].plane], factors[Z + 1 :]) for z in range(after[Z])
        )

    def _pool(self, node: Node) -> None:
        """Pool each plane once, then combine the planes of each window."""
        motion, placing, combine = sums.pooling(node)
        tensor, source = node.outputs[0], self.planes[node.inputs[0]]
        n_planes, shape = self.network.n_planes(tensor), self.network.plane_shape(tensor)

        def pooled(block: Value) -> Value:
            wide = (shape[0], block.shape[1], *shape[2:])
            return self.blocks.once(node.op, [block], f"{tensor}@{block.name}", wide, attributes=placing)

        flat = [self.blocks.through(value, pooled, f"{tensor}@flat{z}") for z, value in enumerate(source)]
        windows = ([flat[tap.plane] for tap in motion.taps(z, len(source))] for z in range(n_planes))
        self.planes[tensor] = tuple(
            window[0] if len(window) == 1 else self.target.add(combine, window, f"{tensor}@{z}", shape)
            for z, window in enumerate(windows)
        )


_TABLE: dict[str, Callable[[_Lowering, Node], None]] = {
    "Conv": _Lowering._convolve,
    "ConvTranspose": _Lowering._convolve_transposed,
    "MaxPool": _Lowering._pool,
    "AveragePool": _Lowering._pool,
    "Resize": _Lowering._resize,
    "Concat": _Lowering._join,
    **dict.fromkeys(_LEADING, _Lowering._along_leading),
}
