"""Foreign networks: what their graph shows, and the card that a person completes.

A foreign graph takes one image, normalised as its card says, and gives one image for each head. Its reach is measured
by running it; this room cannot run networks, so the caller passes a function that can.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import onnx
from onnx.version_converter import convert_version

from care_live.errors import ModelError
from care_live.maps import HEADS, Head
from care_live.model import checks, file
from care_live.model.card import ModelCard, unnamed_channels
from care_live.model.graph import copied
from care_live.model.rewrite import shapes_of, with_shapes
from care_live.model.unet_graph import OPSET

_LOOK_AT_ALL = frozenset(
    {"GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization", "GroupNormalization", "LayerNormalization"}
)
_TRY_PX = {2: 256, 3: 64}
"""Size at which a network is looked at, by its number of axes: many times any sensible divisor."""

MeasureHalo: TypeAlias = Callable[[Path, ModelCard], tuple[int, ...]]
"""Runs a network with a card whose halo is a guess, and returns how far it reaches along each axis."""


def import_onnx(network: Path, out: Path, card: ModelCard, *, measure: MeasureHalo) -> ModelCard:
    """Write a foreign network with its card, its field of any size and its halo measured.

    Raises
    ------
    ModelError
        The network is not harmless, its card does not fit its graph, or it reaches too far to be tiled.
    """
    return write_foreign(load_foreign(network), out, card, measure=measure)


def load_foreign(path: Path) -> onnx.ModelProto:
    """Return a network that is harmless, in the operator set that all of ours use.

    Raises
    ------
    ModelError
        The network is not certainly harmless, or its operator set cannot be converted.
    """
    checks.check(path)
    network: onnx.ModelProto = file.load(path)
    try:
        return network if network.opset_import[0].version >= OPSET else convert_version(network, OPSET)
    except Exception as error:
        found = network.opset_import[0].version
        raise ModelError(
            f"{path} has operator set {found}, which cannot be brought to {OPSET}: {_one_line(error)}"
        ) from error


def write_foreign(network: onnx.ModelProto, out: Path, card: ModelCard, *, measure: MeasureHalo) -> ModelCard:
    """Write a graph with its card; the halo is measured on the file that was written."""
    guessed = describe_graph(network, card.name)
    for key in ("axes", "divisor"):
        if getattr(card, key) != getattr(guessed, key):
            raise ModelError(f"the card says {key} {getattr(card, key)}, the graph says {getattr(guessed, key)}")
    with file.replaced(out) as fresh:
        onnx.save_model(loosened(network), fresh)
        reach = measure(fresh, card)  # of one noise image; tiles are aligned, so whole steps cost nothing
        halo = tuple(step * math.ceil(px / step) for px, step in zip(reach, card.divisor, strict=True))
        card = card.model_copy(update={"halo_px": halo})
        file.write_card(fresh, card)
    return card


def describe_graph(network: onnx.ModelProto, name: str) -> ModelCard:
    """Return what a graph shows as the beginning of a card: axes, channels, heads, divisor.

    Raises
    ------
    ModelError
        The network takes or gives something other than images, or one of its operators reads the whole image.
    """
    graph = network.graph
    if whole := sorted({node.op_type for node in graph.node} & _LOOK_AT_ALL):
        raise ModelError(
            f"the network's {', '.join(whole)} reads the whole image: the result would depend on how the field "
            "is cut, so it cannot run on tiles"
        )
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or not graph.output:
        raise ModelError(f"the network has {len(inputs)} inputs: only one that takes one image can be imported")
    taken, given = _dims(inputs[0]), _dims(graph.output[0])
    if len(taken) not in {4, 5} or len(given) != len(taken) or not taken[1] or not given[1]:
        raise ModelError(f"the network takes {taken} and gives {given}: (n, c, y, x) or (n, c, z, y, x) is wanted")
    axes: Literal["YX", "ZYX"] = "YX" if len(taken) == 4 else "ZYX"
    return ModelCard(
        name=name,
        axes=axes,
        channels_in=unnamed_channels(taken[1]),
        channels_out=unnamed_channels(given[1]),
        divisor=divisor_of(network, inputs[0].name, len(axes)),
        halo_px=(0,) * len(axes),
        heads=_heads(graph),
        normalisation="percentile",
        output="normalised",
    )


def loosened(network: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network for fields of any size; batch and space were often fixed for no reason but the export."""
    loose = copied(network)
    del loose.graph.value_info[:]
    weights = {tensor.name for tensor in loose.graph.initializer}
    for value in [*loose.graph.input, *loose.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if value.name in weights or len(dims) < 4:
            continue
        names = ["n", "c", *"zyx"[5 - len(dims) :]]
        for name, dim in zip(names, dims, strict=True):
            if name != "c":
                dim.dim_param = name
    return loose


def divisor_of(network: onnx.ModelProto, name: str, n_axes: int) -> tuple[int, ...]:
    """Return by how much the network coarsens each axis at most: sizes must be multiples of that.

    Raises
    ------
    ModelError
        The graph does not work for other sizes, or its result has another size than its input.
    """
    channels = next(_dims(value)[1] for value in network.graph.input if value.name == name)
    size = _TRY_PX[n_axes]
    fixed = with_shapes(loosened(network), {name: (1, channels, *(size,) * n_axes)})
    shapes = shapes_of(fixed)
    result = shapes.get(fixed.graph.output[0].name, ())
    if tuple(result[2:]) != (size,) * n_axes:
        raise ModelError(f"the network gives {result[2:]} px for {(size,) * n_axes} px: it must keep the size")
    images = [shape[2:] for tensor, shape in shapes.items() if tensor in _made(fixed) and len(shape) == n_axes + 2]
    return tuple(max(math.ceil(size / shape[axis]) for shape in images) for axis in range(n_axes))


def _made(network: onnx.ModelProto) -> frozenset[str]:
    """Return the tensors that the graph computes, weights left out."""
    return frozenset(output for node in network.graph.node if node.op_type != "Constant" for output in node.output)


def _heads(graph: onnx.GraphProto) -> tuple[Head, ...]:
    """Take names of care_live's heads as heads; of other networks take the first output, as an image."""
    names = {output.name for output in graph.output}
    return tuple(head for head in HEADS if head in names) if "mean" in names else ("mean",)


def _dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return a tensor's sizes; 0 where any will do."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
