"""The same network in 8-bit integers: a third of the time on processors that multiply bytes, and nearly the same.

Every convolution that reads what a ReLU gave, in many channels, gets weights in int8, with a step for each output
channel, and reads uint8, with one step for the whole tensor. The first layer, which reads the image, stays as it is,
and so do heads of kernel 1: they cost little and nothing behind them averages their error away.

One step for all channels wastes most of the 256 levels on channels that are always dark. ReLU lets a positive factor
pass, so a channel may be divided by its factor where it is made and multiplied back where it is read; factors are
chosen between the peaks of the channels and those of the weights that read them.

References
----------
Nagel et al., Data-free quantization through weight equalization and bias correction, ICCV 2019 (the factors).
Xiao et al., SmoothQuant, ICML 2023 (the exponent between activations and weights).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from care_live.errors import ModelError
from care_live.model.graph import copied, set_nodes, set_weights
from care_live.model.onnx_builder import OnnxBuilder
from care_live.model.onnx_rounding import in_codes
from care_live.model.rewrite import attributes, constants

Array = NDArray[Any]
Peaks = Mapping[str, NDArray[np.float32]]
"""Largest value of every channel of a tensor, by the tensor's name."""

FULLNESS = "fullness"
"""Output of a quantised graph, 0-d: its fullest tensor's largest code over 255. At 1 something may be cut off."""
_HEADROOM = 1.1
"""How far tensors may go beyond the peaks that were seen."""
_EVENNESS = 0.75
"""1: all channels peak alike; 0: all weights do. On trained networks 0.5 to 1 hardly differ; none at all is worse."""
_CODES = 255
_FEWEST = 16
"""Channels that a convolution must read: with fewer, rounding errors do not average out. On a
network of 8 filters it moves the mean by 0.03 instead of 0.26 of the Laplace scale, and costs half as much again."""
_SMALLEST = 1e-6
"""Of peaks and weights, so that nothing is divided by zero."""
_MAKERS = ("Conv", "ConvTranspose")
_PEAKS = "@peaks"


def watched(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network with further outputs, one for each tensor that will be quantised: its `Peaks`.

    Raises
    ------
    ModelError
        No convolution can be quantised.
    """
    graph = _QuantisedGraph(model)
    if not graph.readers:
        raise ModelError(f"no convolution of this network reads {_FEWEST} channels that a ReLU gave")
    copy = copied(model)
    tail = OnnxBuilder("peaks@")
    for tensor in graph.readers:
        n_axes = graph.known[graph.readers[tensor][0].input[1]].ndim
        axes = np.array([0, *range(2, n_axes)], np.int64)
        tail.add("ReduceMax", tensor, axes, output=f"{tensor}{_PEAKS}", keepdims=0)
        copy.graph.output.append(helper.make_tensor_value_info(f"{tensor}{_PEAKS}", onnx.TensorProto.FLOAT, None))
    tail.append_to(copy.graph)
    return copy


def tensor_of(output: str) -> str:
    """Return the name of the tensor whose peaks are an output of a watched network."""
    return output.removesuffix(_PEAKS)


def quantised(model: onnx.ModelProto, peaks: Peaks) -> onnx.ModelProto:
    """Return the network in 8 bits, as QuantizeLinear and DequantizeLinear around its convolutions.

    Parameters
    ----------
    model : float32
    peaks : outputs of a watched network; tensors may go a tenth beyond

    Returns
    -------
    The network, with `FULLNESS` as a further output.
    """
    writer = _Writer(_QuantisedGraph(model), peaks)
    copy = copied(model)
    for node in copy.graph.node:
        writer.rewrite(node)
    writer.add_fullness()
    set_nodes(copy.graph, writer.nodes)
    read = {name for node in writer.nodes for name in node.input}
    kept = [weight for weight in copy.graph.initializer if weight.name in read]
    set_weights(copy.graph, [*kept, *writer.constants])
    del copy.graph.value_info[:]
    copy.graph.output.append(helper.make_tensor_value_info(FULLNESS, onnx.TensorProto.FLOAT, []))
    return copy


class _QuantisedGraph:
    """Which operators make and read the tensors that will be quantised.

    Attributes
    ----------
    readers : the convolutions that will read a tensor in 8 bits, through poolings or at once, by tensor
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.known = constants(model)
        self._makers = {output: node for node in model.graph.node for output in node.output}
        self._uses: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._uses.setdefault(name, []).append(node)
        self._outputs = {output.name for output in model.graph.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            if self._is_worth_it(node):
                self.readers.setdefault(self.source(node), []).append(node)

    def source(self, node: onnx.NodeProto) -> str:
        """Return the tensor that a convolution reads, before it was pooled: codes can be pooled as well."""
        name: str = node.input[0]
        while (maker := self._makers.get(name)) is not None and maker.op_type == "MaxPool":
            name = maker.input[0]
        return name

    def makers(self, tensor: str) -> list[onnx.NodeProto]:
        """Return the convolutions whose sum, after a ReLU, is a tensor; none if anything else has a part in it."""
        relu = self._makers[tensor]
        parts = self._parts(relu.input[0])
        return parts if parts is not None and len(self._uses[relu.input[0]]) == 1 else []

    def pooled(self, tensor: str) -> str | None:
        """Return the name of a tensor after pooling, if it is pooled."""
        return next((use.output[0] for use in self._uses[tensor] if use.op_type == "MaxPool"), None)

    def factors(self, tensor: str, peaks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return by what each channel is divided where it is made; ones where other operators read it, too."""
        readers = self.readers[tensor]
        if not self.makers(tensor) or not self._read_by(tensor, readers):
            return np.ones_like(peaks)
        heaviest = np.max([_peaks_along(self.known[node.input[1]], _axis_in(node)) for node in readers], axis=0)
        loud, heavy = np.maximum(peaks, _SMALLEST), np.maximum(heaviest, _SMALLEST)
        factors = loud**_EVENNESS / heavy ** (1 - _EVENNESS)
        return np.asarray(np.clip(factors / np.exp(np.log(factors).mean()), 1e-3, 1e3), np.float32)

    def _is_worth_it(self, node: onnx.NodeProto) -> bool:
        if node.op_type not in _MAKERS or node.input[1] not in self.known:
            return False
        weight, maker = self.known[node.input[1]], self._makers.get(self.source(node))
        if maker is None or maker.op_type != "Relu" or attributes(node).get("group", 1) != 1:
            return False
        return bool(max(weight.shape[2:]) > 1 and weight.shape[_axis_in(node)] >= _FEWEST)

    def _parts(self, tensor: str) -> list[onnx.NodeProto] | None:
        maker = self._makers.get(tensor)
        if maker is None or len(self._uses.get(tensor, ())) > 1 or tensor in self._outputs:
            return None
        if maker.op_type in _MAKERS and all(name in self.known for name in maker.input[1:]):
            return [maker]
        if maker.op_type != "Add":
            return None
        parts = [self._parts(name) for name in maker.input]
        return [node for part in parts if part is not None for node in part] if None not in parts else None

    def _read_by(self, tensor: str, readers: Iterable[onnx.NodeProto]) -> bool:
        """Return whether a tensor has one reader, pooled or not."""
        allowed = {node.output[0] for node in readers}
        return tensor not in self._outputs and all(
            self._read_by(use.output[0], readers) if use.op_type == "MaxPool" else use.output[0] in allowed
            for use in self._uses[tensor]
        )


class _Writer(OnnxBuilder):
    """Writes the nodes of the quantised graph, and collects their constants."""

    def __init__(self, graph: _QuantisedGraph, peaks: Peaks) -> None:
        super().__init__()
        self._graph = graph
        self._factors = {tensor: graph.factors(tensor, peaks[tensor]) for tensor in graph.readers}
        self._tops = {tensor: _HEADROOM * _top(peaks[tensor] / factors) for tensor, factors in self._factors.items()}
        self._made = {node.output[0]: tensor for tensor in graph.readers for node in graph.makers(tensor)}
        self._read = {node.output[0]: tensor for tensor, nodes in graph.readers.items() for node in nodes}

    def rewrite(self, node: onnx.NodeProto) -> None:
        """Write what stands in the quantised graph in place of a node."""
        name = node.output[0]
        if name in self._made or name in self._read:
            self._add_convolution(node)
        elif node.op_type == "MaxPool" and node.input[0] in self._factors:
            node.input[0] = _decoded(node.input[0])
        self.nodes.append(node)
        if name in self._factors:
            self._add_codes(name)

    def add_fullness(self) -> None:
        """Write what makes the output `FULLNESS`."""
        shares = []
        for tensor, top in self._tops.items():
            largest = self.add("ReduceMax", self._cheapest(tensor), output=f"{tensor}@largest", keepdims=0)
            share = self.constant(1 / top, f"{tensor}@share")
            shares.append(self.add("Mul", largest, share, output=f"{tensor}@fullness"))
        self.add("Max", *shares, output=FULLNESS)

    def _cheapest(self, tensor: str) -> str:
        """Return where to look for a tensor's largest value.

        A pooled tensor has the same and is smaller. What a convolution in float32 made lies in memory as it is; its
        codes would be written a second time, in another layout. Of all others only the codes are written.
        """
        if (pooled := self._graph.pooled(tensor)) is not None:
            return pooled
        in_bytes = any(node.output[0] in self._read for node in self._graph.makers(tensor))
        return _decoded(tensor) if in_bytes else tensor

    def _add_convolution(self, node: onnx.NodeProto) -> None:
        """Write the weights of a convolution, which then reads them."""
        name, weight = node.output[0], self._graph.known[node.input[1]]
        if (made := self._made.get(name)) is not None:
            weight = weight / _along(self._factors[made], weight.ndim, _axis_out(node))
            if len(node.input) > 2:
                bias = self._graph.known[node.input[2]] / self._factors[made]
                node.input[2] = self.constant(bias.astype(np.float32), f"{name}@bias")
        if (read := self._read.get(name)) is None:
            node.input[1] = self.constant(weight.astype(np.float32), f"{name}@weight")
        else:
            weight = weight * _along(self._factors[read], weight.ndim, _axis_in(node))
            node.input[0] = _decoded(read) if node.input[0] == read else node.input[0]
            node.input[1] = self._coded_weight(node, weight)

    def _coded_weight(self, node: onnx.NodeProto, weight: Array) -> str:
        """Write int8 weights of a convolution, with a step for each output channel; return their name."""
        name, axis = f"{node.output[0]}@weight", _axis_out(node)
        strides = attributes(node).get("strides") if axis else None
        codes, steps = in_codes(np.moveaxis(weight, axis, 0), strides or (1,) * (weight.ndim - 2))
        inputs = (
            self.constant(np.ascontiguousarray(np.moveaxis(codes, 0, axis)), f"{name}@codes"),
            self.constant(steps, f"{name}@steps"),
            self.constant(np.zeros(len(steps), np.int8), f"{name}@zeros"),
        )
        return self.add("DequantizeLinear", *inputs, output=name, axis=axis)

    def _add_codes(self, tensor: str) -> None:
        """Write what turns a tensor into codes and back."""
        scale = (
            self.constant(self._tops[tensor] / _CODES, f"{tensor}@step"),
            self.constant(np.array(0, np.uint8), f"{tensor}@zero"),
        )
        codes = self.add("QuantizeLinear", tensor, *scale, output=f"{tensor}@codes")
        self.add("DequantizeLinear", codes, *scale, output=_decoded(tensor))


def _decoded(tensor: str) -> str:
    """Return the name of what readers get in place of a tensor."""
    return f"{tensor}@decoded"


def _top(values: Array) -> float:
    return max(float(values.max()), _SMALLEST)


def _axis_in(node: onnx.NodeProto) -> int:
    return 1 if node.op_type == "Conv" else 0


def _axis_out(node: onnx.NodeProto) -> int:
    return 1 - _axis_in(node)


def _peaks_along(weight: Array, axis: int) -> Array:
    """Return the largest magnitude at every index of one axis."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    return np.asarray(np.abs(weight).max(axis=others))


def _along(values: Array, ndim: int, axis: int) -> Array:
    """Return values shaped so that they multiply one axis of an array."""
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])
