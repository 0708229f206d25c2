"""Planes made from planes, each of them once: upsampled, added, taken from each other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from care_live.restore.streaming.network import Shape
from care_live.restore.streaming.program import Program, Value

_NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


class Signed(NamedTuple):
    """A plane, or its negative."""

    value: Value
    sign: int


class Planes:
    """What convolutions read that is no tensor of the network; never kept between steps, rather made again."""

    def __init__(self, target: Program) -> None:
        self._target = target
        self._made: dict[str, Value] = {}
        self._narrow: dict[str, tuple[Value, Shape]] = {}
        """What an upsampled plane was made from."""

    def upsampled(self, value: Value, factors: Shape) -> Value:
        """Return a plane upsampled to its nearest neighbours by factors (y, x)."""
        if factors == (1, 1):
            return value
        n, c, y, x = value.shape
        scales = self._target.constant(f"factors_{factors[0]}x{factors[1]}", np.array([1, 1, *factors], np.float32))
        shape = (n, c, y * factors[0], x * factors[1])
        name = f"{value.name}@x{factors[0]}x{factors[1]}"
        wide = self._once("Resize", [value, "", scales], name, shape, **_NEAREST)
        self._narrow[wide.name] = (value, factors)
        return wide

    def total(self, first: Value, second: Value) -> Value:
        """Return the sum of two planes."""
        return self._once("Add", [first, second], f"({first.name}+{second.name})", first.shape)

    def difference(self, first: Value, second: Value) -> Signed:
        """Return ``first - second``, or the negative where that has been made; of upsampled planes before they were.

        The negative is a convolution of one channel each: unlike Sub it leaves a plane in the memory layout
        of convolutions.
        """
        if f"({second.name}-{first.name})" in self._made:
            return Signed(self._made[f"({second.name}-{first.name})"], -1)
        if first.name in self._narrow and second.name in self._narrow:
            (low, factors), (other, _) = self._narrow[first.name], self._narrow[second.name]
            narrow = self.difference(low, other)
            return Signed(self.upsampled(narrow.value, factors), narrow.sign)
        c = second.shape[1]
        weight = self._target.constant(f"minus_{c}", np.full((c, 1, 1, 1), -1, np.float32))
        negative = self._once("Conv", [second, weight], f"(-{second.name})", second.shape, group=c)
        return Signed(self._once("Add", [negative, first], f"({first.name}-{second.name})", first.shape), 1)

    def _once(self, op: str, inputs: list[Value | str], name: str, shape: Shape, **attributes: Any) -> Value:
        if name not in self._made:
            self._made[name] = self._target.add(op, inputs, name, shape, attributes=attributes, cheap=True)
        return self._made[name]
