"""Results in 3 bytes a voxel instead of 8, for the way from a device to the host: codes, and how to read them.

*mean* becomes uint16 in even steps between the smallest and the largest value of its channel in this run, so that
nothing is cut off. *laplace_scale* and *disagreement* become uint8 in sixteenths of an octave below their largest
value, as on the wire; smaller values become 2⁻¹⁵·⁹ of it. The largest code stands for NaN and infinity, which arrive as
NaN, voxel for voxel.

The mean is then off by half a step at most, 1/131068 of its range; a scale by 2.2 %.

The link carries less and the host works more: reading codes takes 1.4 (mean) and 2.3 (scale) times the processor's time
of copying float32 (32x1024x1024, one thread, 9 alternating pairs, quartiles within 1 %), 1.4 ns a voxel for both
together. So codes pay where the link carries less than 3.6 GB/s, or where the host waits anyhow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from care_live.errors import ModelError
from care_live.maps import MAPS, Head
from care_live.model.graph import copied
from care_live.model.onnx_builder import OnnxBuilder
from care_live.wire.number_codes import LARGEST_CODE, NO_NUMBER, OCTAVE_STEPS

Array: TypeAlias = NDArray[Any]

_STEPS, _NO_MEAN = 65534, 65535
_BOTTOM = 2.0 ** (-LARGEST_CODE / OCTAVE_STEPS)
"""What the smallest code of a scale means, as a share of the largest value."""
OCTAVE_STEP = 2.0 ** (1 / OCTAVE_STEPS) - 1
"""From one code of a scale to the next, as a share of it."""
_LARGEST, _SMALLEST = (float(end) for end in (np.finfo(np.float32).max, np.finfo(np.float32).tiny))
_OPSET = 18
"""Oldest operator set in which axes of a reduction are an input, as they are written here."""
_REDUCING_OPSET = 19
"""In 20 ReduceMin and ReduceMax became other operators, for which many a CUDA provider has no kernel."""
_AT_ONCE = 2**16
"""Codes read in one go: between the passes over them they stay in the processor's cache."""
_ENDS, _MEAN_ENDS = "@ends", 3


def coded(model: onnx.ModelProto, heads: Mapping[str, str]) -> onnx.ModelProto:
    """Return the network with codes in place of numbers.

    Parameters
    ----------
    heads : the head of each output, by its name; others, and those that are not float32, stay as they are. All but a
        mean are scales

    Returns
    -------
    Outputs of the same names in the same order, and behind them, for each that is codes now, its `ends_of`.

    Raises
    ------
    ModelError
        Its operator set is too old, or too new; or an output has no number of axes.
    """
    copy = copied(model)
    _declare_older_opset(copy)
    for output in list(copy.graph.output):
        if output.name in heads and output.type.tensor_type.elem_type == TensorProto.FLOAT:
            _encode(copy.graph, output, heads[output.name])
    return copy


def ends_of(output: str) -> str:
    """Return the name of the output with which the codes of another one are read.

    (3, c, …) float32 for a mean: the smallest value of every channel, the largest, and the largest code; (1, c, …) for
    a scale: the largest value.
    """
    return output + _ENDS


def outputs_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a graph's outputs without those that are only there to read others."""
    return tuple(name for name in names if not name.endswith(_ENDS))


def slack(head: Head, values: Array) -> Array:
    """Return how far codes may move a map, rounding of float32 aside: for every voxel, or the same for all."""
    if MAPS[head].coding == "signed":  # those travel as they are
        return np.zeros((), np.float32)
    if head == "mean":
        return np.asarray(np.ptp(values) / _STEPS / 2)
    half_step = 2.0 ** (0.5 / OCTAVE_STEPS) - 1
    return np.asarray(np.maximum(values * half_step, values.max() * _BOTTOM))


def read(codes: Array, ends: Array, into: Array) -> None:
    """Write what codes mean.

    Parameters
    ----------
    codes : (n, c, …space) uint16 or uint8
    ends : what came with them; see `ends_of`
    into : (n, c, …space) float32; strided memory takes twice as long
    """
    for c, known in enumerate(ends.reshape(len(ends), -1).T.astype(np.float64)):
        write = partial(_read_mean, known) if len(known) == _MEAN_ENDS else partial(_read_scale, _table(known[0]))
        for part, target in _strips(codes[:, c], into[:, c]):
            write(part, target)


def _read_mean(ends: Array, codes: Array, into: Array) -> None:
    low, high, largest = ends
    step = (high - low) / _STEPS
    if abs(high - low) > _LARGEST / 2:  # the way in float32 leads through infinity
        np.copyto(into, low + np.minimum(codes, _STEPS) * step, casting="same_kind")
    else:
        np.copyto(into, codes)
        np.multiply(into, np.float32(step), out=into)
        np.add(into, np.float32(low), out=into)
    if largest == _NO_MEAN:
        into[codes == _NO_MEAN] = np.nan


def _read_scale(table: Array, codes: Array, into: Array) -> None:
    table.take(codes, out=into, mode="wrap")  # no code is too large, but looking for one takes time


def _table(top: float) -> NDArray[np.float32]:
    """Return what each code of a scale means."""
    octaves = (np.arange(NO_NUMBER + 1) - LARGEST_CODE) / OCTAVE_STEPS
    table = (top * 2.0**octaves).astype(np.float32)
    table[NO_NUMBER] = np.nan
    return table


def _strips(codes: Array, into: Array) -> Iterator[tuple[Array, Array]]:
    """Yield both in pieces of which each stays in the processor's cache."""
    if codes[0].size > _AT_ONCE:
        for pair in zip(codes, into, strict=True):
            yield from _strips(*pair)
    else:
        n = _AT_ONCE // codes[0].size
        for first in range(0, len(codes), n):
            yield codes[first : first + n], into[first : first + n]


def _encode(graph: onnx.GraphProto, output: onnx.ValueInfoProto, head: str) -> None:
    """Let an output give codes; what it gave before is then only inside the graph.

    Only operators are used for which CUDA has kernels in float32: a session on a device refuses all others. So no
    IsNaN and IsInf, and Where comes before Cast.
    """
    name, shape = output.name, output.type.tensor_type.shape
    if not output.type.tensor_type.HasField("shape"):
        raise ModelError(f"output {name} of the network has no number of axes: export it again")
    number = f"{name}@number"
    _rename(graph, name, number)
    axes = np.array([axis for axis in range(len(shape.dim)) if axis != 1], np.int64)
    write, n_ends = (_write_mean, _MEAN_ENDS) if head == "mean" else (_write_scale, 1)
    tail = OnnxBuilder(f"{name}@code")
    write(tail, number, name, axes)
    tail.append_to(graph)
    output.type.tensor_type.elem_type = TensorProto.UINT16 if head == "mean" else TensorProto.UINT8
    sizes = [n_ends, None, *[1] * (len(shape.dim) - 2)]
    graph.output.append(helper.make_tensor_value_info(ends_of(name), TensorProto.FLOAT, sizes))


def _write_mean(tail: OnnxBuilder, number: str, name: str, axes: Array) -> None:
    """Write even steps between the ends; halves of numbers, whose differences are never infinite."""
    add = tail.add
    finite = add("Less", add("Abs", number), np.inf)  # false for NaN, too
    low = add("ReduceMin", add("Where", finite, number, _LARGEST), axes, keepdims=1)
    high = add("ReduceMax", add("Where", finite, number, -_LARGEST), axes, keepdims=1)
    halves = [add("Mul", value, 0.5) for value in (number, low, high)]
    range_ = add("Max", add("Sub", halves[2], halves[1]), _SMALLEST)
    share = add("Div", add("Sub", halves[0], halves[1]), range_)
    code = add("Where", finite, add("Round", add("Mul", share, float(_STEPS))), float(_NO_MEAN))
    add("Cast", code, to=TensorProto.UINT16, output=name)
    add("Concat", low, high, add("ReduceMax", code, axes, keepdims=1), axis=0, output=ends_of(name))


def _write_scale(tail: OnnxBuilder, number: str, name: str, axes: Array) -> None:
    """Write steps of a logarithm; what is not positive counts as the smallest."""
    add = tail.add
    finite = add("Less", add("Abs", number), np.inf)
    top = add("ReduceMax", add("Where", finite, number, 0.0), axes, keepdims=1)
    top = add("Max", top, _SMALLEST, output=ends_of(name))
    share = add("Clip", add("Div", add("Where", finite, number, 0.0), top), _BOTTOM, 1.0)
    octaves = add("Mul", add("Log", share), OCTAVE_STEPS / np.log(2))
    code = add("Where", finite, add("Round", add("Add", octaves, float(LARGEST_CODE))), float(NO_NUMBER))
    add("Cast", code, to=TensorProto.UINT8, output=name)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a tensor another name, wherever it is made and read; its type information is dropped."""
    kept = [value for value in graph.value_info if value.name != old]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]


def _declare_older_opset(model: onnx.ModelProto) -> None:
    """Declare `_REDUCING_OPSET`, in which all that the network does must mean the same."""
    own = next(entry for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if own.version < _OPSET:
        raise ModelError(f"the network has operator set {own.version}, codes need {_OPSET}: use 'care-live import'")
    for node in model.graph.node:
        if onnx.defs.get_schema(node.op_type, own.version, "").since_version > _REDUCING_OPSET:
            raise ModelError(f"{node.op_type} of operator set {own.version} is not what it was in {_REDUCING_OPSET}")
    own.version = min(own.version, _REDUCING_OPSET)
