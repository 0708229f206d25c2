"""A network must be harmless before anything loads it: small, complete, of known operators, with finite weights.

Only operators of restoration networks are allowed. Another file could read other files as weights, run for ever in a
loop, call code of a custom domain, or take more memory than there is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from care_live.errors import ModelError
from care_live.imports import need
from care_live.model import file, sizes
from care_live.model.card import Calibration, ModelCard, Task

LARGEST_MIB = 1024
"""Far above any network that restores in real time."""

_WORDS = """
Abs Add AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv ConvTranspose DepthToSpace
Div Dropout Elu Equal Erf Exp Expand Flatten Floor Gather Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN LayerNormalization
LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Mean Min Mish Mod Mul Neg Not PRelu Pad Pow Range
Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Resize Round Selu Shape Sigmoid Sign Size Slice
Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Upsample Where
"""
ALLOWED_OPS = frozenset(_WORDS.split())


LARGEST_HALO_PX, LARGEST_DIVISOR, LARGEST_FACTOR = 1024, 256, 100.0
"""Beyond these a card is a mistake: no tile could have such a halo, no stack be padded or interpolated so far."""
MOST_CHANNELS, LONGEST_NAME = 64, 128
"""Of a network; protocol cl1 carries no longer name."""
_AXES: dict[Task, tuple[str, ...]] = {
    "denoise": ("YX", "ZYX"),
    "deconvolve": ("YX", "ZYX"),
    "isotropic": ("YX",),
    "upsample": ("ZYX",),
    "project": ("ZYX",),
}


def check_card(card: ModelCard) -> None:
    """Refuse a card that contradicts itself, before anything is computed from it.

    Raises
    ------
    ModelError
        The message has the value and the values that are allowed.
    """
    if faults := "; ".join(_faults(card)):
        raise ModelError(f"the model card of {card.name} has {faults}: correct it")


def _faults(card: ModelCard) -> Iterator[str]:
    each = f"wanted {len(card.axes)} numbers, one for each of {card.axes}, from"
    if card.axes not in _AXES[card.task]:
        yield f"task {card.task} on axes {card.axes}, wanted {' or '.join(_AXES[card.task])}"
    for name, px, least, most in (
        ("divisor", card.divisor, 1, LARGEST_DIVISOR),
        ("halo_px", card.halo_px, 0, LARGEST_HALO_PX),
    ):
        if len(px) != len(card.axes) or not all(least <= one <= most for one in px):
            yield f"{name} {px}, {each} {least} to {most}"
    if card.factor > LARGEST_FACTOR:
        yield f"factor {card.factor:g}, wanted at most {LARGEST_FACTOR:g}"
    if "mean" not in card.heads or len(set(card.heads)) < len(card.heads):
        yield f"heads {card.heads}, wanted mean among them, each once"
    disagree = card.members > 1 and "laplace_scale" in card.heads
    if card.normalisation == "in-graph" and disagree != ("disagreement" in card.heads):  # foreign ones may differ
        yield f"members {card.members} with heads {card.heads}, wanted disagreement of 2 or more with a Laplace scale"
    if not (card.channels_in and card.channels_out):
        yield "no channels, wanted channels_in and channels_out"
    for channels in (card.channels_in, card.channels_out):
        if len(channels) > MOST_CHANNELS or not all(1 <= len(name) <= LONGEST_NAME for name in channels):
            yield f"channels that cannot be named, wanted at most {MOST_CHANNELS} of 1 to {LONGEST_NAME} characters"
    if card.voxel_size_um is not None and not all(0 < size < math.inf for size in card.voxel_size_um):
        yield f"voxel_size_um {card.voxel_size_um}, wanted sizes above 0"
    if card.calibration is not None and not _is_calibration(card.calibration):
        yield "an unusable calibration, wanted as many factors above 0 as levels, which rise from above 0 to below 1"
    yield from _faults_of_range(card)


def _faults_of_range(card: ModelCard) -> Iterator[str]:
    if card.low_percentile >= card.high_percentile:
        yield f"low_percentile {card.low_percentile:g} above high_percentile {card.high_percentile:g}"
    if card.past and (card.task != "denoise" or card.normalisation != "in-graph"):
        yield f"past {card.past}, wanted 0 for the task {card.task} with normalisation {card.normalisation}"


def _is_calibration(calibration: Calibration) -> bool:
    levels, factors = calibration.levels, calibration.factors
    rise = all(0 < low < high < 1 for low, high in itertools.pairwise(levels)) and all(0 < one < 1 for one in levels)
    return len(levels) == len(factors) and rise and all(0 < factor < math.inf for factor in factors)


def check(path: Path) -> None:
    """Refuse a network that is not certainly harmless; nothing is run and no other file is opened.

    Raises
    ------
    ModelError
        The message names the rule that the network breaks, and where.
    """
    _refuse_large_file(path)
    network = file.load(path)
    _refuse_strange_layers(network, path)
    _refuse_other_files(network, path)
    _refuse_weights_that_are_no_numbers(network, path)
    _refuse_large_tensors(network, path)


def _refuse_large_file(path: Path) -> None:
    try:
        n_mib = path.stat().st_size / 2**20
    except OSError as error:
        raise file.unreadable(path, error) from error
    if n_mib > LARGEST_MIB:
        raise ModelError(f"{path} has {n_mib:.0f} MiB: a restoration network has at most {LARGEST_MIB} MiB")


def _refuse_strange_layers(network: Any, path: Path) -> None:
    """Refuse custom domains, functions, control flow and unknown operators."""
    if network.functions:
        raise ModelError(f"{path} defines functions of its own: export it with functions inlined")
    for node in network.graph.node:
        if node.domain not in {"", "ai.onnx"}:
            raise ModelError(
                f"{path} uses {node.op_type!r} of the custom domain {node.domain!r}: only plain ONNX may run"
            )
        if node.op_type not in ALLOWED_OPS:
            raise ModelError(f"{path} uses the operator {node.op_type!r}, which restoration networks do not need")
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise ModelError(f"{path} has a graph inside its operator {node.op_type!r}: control flow may not run")


def _refuse_other_files(network: Any, path: Path) -> None:
    for tensor in _tensors(network):
        if tensor.external_data or tensor.data_location:
            raise ModelError(f"{path} keeps the weights {tensor.name!r} in another file: export it as one file")


def _refuse_weights_that_are_no_numbers(network: Any, path: Path) -> None:
    numpy_helper = need("onnx.numpy_helper", extra="cpu")
    for tensor in _tensors(network):
        try:
            values = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"{path} has unreadable weights {tensor.name!r}: {error}") from error
        if values.dtype.kind not in "biuSUO" and not np.isfinite(values.astype(np.float32)).all():
            raise ModelError(f"{path} has weights {tensor.name!r} that are not finite: its training failed")
    for node in network.graph.node:
        for attribute in node.attribute:
            if np.isnan([attribute.f, *attribute.floats]).any():  # infinity may be a bound
                raise ModelError(
                    f"{path} has {attribute.name!r} of {node.op_type!r} that is not finite: export it again"
                )


def _refuse_large_tensors(network: Any, path: Path) -> None:
    """Follow the sizes of all tensors for a small field; a few pixels must not become gigabytes."""
    misfit: ModelError | None = None
    for shapes in sizes.fields(network):
        try:
            sizes.refuse_large(network, shapes, str(path))
            return
        except sizes.SizeMismatchError as error:  # another field may be a multiple of its divisor
            misfit = misfit or error
    assert misfit is not None, "some field is tried"
    raise ModelError(str(misfit)) from misfit


def _tensors(network: Any) -> Iterator[Any]:
    """Yield every weight: initializers, sparse ones, and those in the attributes of constants."""
    attributes = [attribute for node in network.graph.node for attribute in node.attribute]
    yield from network.graph.initializer
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
    for holder in (network.graph.sparse_initializer, *(attribute.sparse_tensors for attribute in attributes)):
        for sparse in holder:
            yield from (sparse.values, sparse.indices)
    for attribute in attributes:
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
