"""What a network computes sizes from, and how large they may be, is known before it runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from care_live.config import RestoreConfig
from care_live.errors import ModelError, RestoreError
from care_live.model import checks, sizes
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore.select import open_network

NODE = helper.make_node


def number(value: object, name: str, dtype: type = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, dtype), name)


def network(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> onnx.ModelProto:
    """A network over (1, 1, y, x) that adds the largest element of k to its input, once k is made."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, "y", "x"]) for name in ("image", "mean")]
    last = [NODE("ReduceMax", ["k"], ["r"], keepdims=0), NODE("Add", ["image", "r"], ["mean"])]
    graph = helper.make_graph([*nodes, *last], "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def cast(name: str) -> list[onnx.NodeProto]:
    return [NODE("Cast", [name], ["s"], to=TensorProto.INT64)]


def from_float(op: str, value: object) -> onnx.ModelProto:
    inputs = ["s"] if op == "ConstantOfShape" else ["image", "s"]
    return network([*cast("f"), NODE(op, inputs, ["k"])], [number(value, "f", np.float32)])


def from_pixels() -> onnx.ModelProto:
    nodes = [NODE("ReduceMax", ["image"], ["f"], axes=[1, 2, 3], keepdims=0), *cast("f")]
    return network([*nodes, NODE("ConstantOfShape", ["s"], ["k"])], [])


def from_exponential() -> onnx.ModelProto:
    nodes = [NODE("Exp", ["e"], ["f"]), *cast("f"), NODE("ConstantOfShape", ["s"], ["k"])]
    return network(nodes, [number([23], "e", np.float32)])


def ranged(limit: float, step: float) -> onnx.ModelProto:
    ends = [number(value, name, np.float32) for value, name in ((0, "a"), (limit, "b"), (step, "c"))]
    return network([NODE("Mul", ["b", "b"], ["bb"]), NODE("Range", ["a", "bb", "c"], ["k"])], ends)


def outer() -> onnx.ModelProto:
    nodes = [NODE("ConstantOfShape", ["s"], ["a"]), NODE("Transpose", ["a"], ["b"]), NODE("MatMul", ["a", "b"], ["k"])]
    return network(nodes, [number([10**6, 1], "s")])


def divided(dividend: int, divisor: int) -> onnx.ModelProto:
    nodes = [NODE("Div", ["a", "b"], ["q"]), NODE("ConstantOfShape", ["q"], ["k"])]
    return network(nodes, [number([dividend], "a"), number([divisor], "b")])


def slow() -> onnx.ModelProto:
    names = ["image", *(f"v{i}" for i in range(199)), "k"]
    wide = number(np.zeros((1, 1, 999, 999)), "w", np.float32)
    pairs = itertools.pairwise(names)
    return network([NODE("Conv", [one, "w"], [other], pads=[499] * 4) for one, other in pairs], [wide])


def twice() -> onnx.ModelProto:
    nodes = [NODE("Identity", ["a"], ["s"]), NODE("Identity", ["b"], ["s"]), NODE("ConstantOfShape", ["s"], ["k"])]
    return network(nodes, [number([2], "a"), number([10**10], "b")])


HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "float-constant-of-shape": (lambda: from_float("ConstantOfShape", [1e10]), "size of 'k' in ConstantOfShape"),
    "float-tile": (lambda: from_float("Tile", [1, 1, 1e5, 1e5]), "too large"),
    "float-expand": (lambda: from_float("Expand", [1e9, 1, 1, 1]), "too large"),
    "float-pad": (lambda: from_float("Pad", [0, 0, 0, 0, 0, 0, 1e6, 1e6]), "too large"),
    "float-reshape": (lambda: from_float("Reshape", [1e10, 1]), "size of 'k' in Reshape|inconsistent in Reshape"),
    "range-computed": (lambda: ranged(3e5, 1), "too large"),
    "range-tiny-step": (lambda: ranged(1, 1e-12), "too large"),
    "range-no-step": (lambda: ranged(1, 0), "inconsistent in Range|size of 'k' in Range"),
    "outer-product": (outer, "too large"),
    "exponential": (from_exponential, "size of 'k' in ConstantOfShape"),
    "pixels": (from_pixels, "size of 'k' in ConstantOfShape"),
    "negative-quotient": (lambda: divided(-7, 2), "Div of a negative number"),
    "divided-by-zero": (lambda: divided(7, 0), "by zero"),
    "slow": (slow, "too slow"),
    "made-twice": (twice, "makes 's' twice"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_sizes_that_are_unknown_or_too_large_are_refused(tmp_path: Path, name: str) -> None:
    make, reason = HOSTILE[name]
    path = tmp_path / "evil.onnx"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(ModelError, match=reason):
        checks.check(path)


def test_a_network_that_asks_for_more_at_another_size_is_refused_there(tmp_path: Path) -> None:
    nodes = [
        NODE("Shape", ["image"], ["all"], start=2, end=3),
        NODE("Equal", ["all", "trap"], ["caught"]),
        NODE("Where", ["caught", "giant", "one"], ["s"]),
        NODE("ConstantOfShape", ["s"], ["k"]),
    ]
    made = network(nodes, [number([320], "trap"), number([10**10], "giant"), number([1], "one")])
    path = tmp_path / "trap.onnx"
    path.write_bytes(made.SerializeToString())
    checks.check(path)
    card = ModelCard(name="trap", axes="YX", divisor=(1, 1), halo_px=(0, 0), normalisation="none", output="counts")
    opened, _ = open_network(path, card, RestoreConfig(provider="cpu", threads=1))
    for side in (64, 320):
        image, out = np.zeros((1, 1, side, side), np.float32), np.empty((1, 1, side, side), np.float32)
        if side == 64:
            opened.predict(image, [Span(0, 1)], [out], tile_px=None)
        else:
            with pytest.raises(RestoreError, match=r"10000000000 elements .* too large \(input \(1, 1, 320, 320\)\)"):
                opened.predict(image, [Span(0, 1)], [out], tile_px=None)


def test_sizes_computed_as_exporters_do_are_followed() -> None:
    """A resize to twice the size by way of floats, as older exporters write it."""
    nodes = [
        NODE("Shape", ["image"], ["all"]),
        NODE("Slice", ["all", "two", "four"], ["space"]),
        NODE("Cast", ["space"], ["float"], to=TensorProto.FLOAT),
        NODE("Mul", ["float", "factor"], ["larger"]),
        NODE("Floor", ["larger"], ["floored"]),
        NODE("Cast", ["floored"], ["whole"], to=TensorProto.INT64),
        NODE("Slice", ["all", "zero", "two"], ["front"]),
        NODE("Concat", ["front", "whole"], ["size"], axis=0),
        NODE("Resize", ["image", "", "", "size"], ["k"]),
    ]
    weights = [number([n], name) for n, name in ((0, "zero"), (2, "two"), (4, "four"))]
    made = network(nodes, [*weights, number([2.0, 1.5], "factor", np.float32)])
    assert sizes.refuse_large(made, {"image": (1, 1, 30, 41)}, "it")["k"] == (1, 1, 60, 61)
