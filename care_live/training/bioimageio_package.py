"""The network as a bioimage.io package, for the tools that read those.

Inside the package the graph takes normalised pixels: percentile scaling is bioimage.io's own preprocessing
step, and low and high are fixed to 0 and 1. A test input and its outputs, computed here, travel along.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ModelError
from care_live.imports import need
from care_live.model import file
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.training.parity import open_network

_AXIS_IDS = {"Z": "z", "Y": "y", "X": "x"}


def write_package(model: Path, package: Path) -> None:
    """Write a bioimage.io package (format 0.5, a .zip) of one of our ONNX files.

    Raises
    ------
    ConfigError
        bioimageio.core is not installed.
    ModelError
        The network projects or reads earlier time points, or bioimageio.core does not get the stored test outputs.
    """
    spec = need("bioimageio.spec.model.v0_5", extra="bioimageio")
    core = need("bioimageio.core", extra="bioimageio")
    card = file.read_card(model)
    if card.normalisation != "in-graph" or card.task == "project":
        raise ModelError(f"{model} is a {card.task} network with {card.normalisation} normalisation: not packaged yet")
    if card.past:
        raise ModelError(f"{model} reads earlier time points in the range of the present: no package can say that")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "weights.onnx").write_bytes(without_span(model))
        _write_test_tensors(folder, model, card)
        (folder / "README.md").write_text(_readme(card), encoding="utf-8")
        described = _describe(spec, card, folder)
        package.parent.mkdir(parents=True, exist_ok=True)
        need("bioimageio.spec", extra="bioimageio").save_bioimageio_package(described, output_path=package)
    summary = core.test_model(package)
    if summary.status == "failed":
        package.unlink()
        raise ModelError(f"bioimageio.core refuses the package of {model}: {summary.format()[:500]}")


def without_span(model: Path) -> bytes:
    """Return the network with low = 0 and high = 1 inside, for float32 pixels that are normalised already."""
    onnx = need("onnx", extra="cpu")
    proto = file.load(model)
    graph = proto.graph
    for name, value in (("low", 0.0), ("high", 1.0)):
        given = next(entry for entry in graph.input if entry.name == name)
        n_channels = given.type.tensor_type.shape.dim[0].dim_value
        graph.input.remove(given)
        graph.initializer.append(onnx.numpy_helper.from_array(np.full(n_channels, value, np.float32), name))
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    content: bytes = proto.SerializeToString()
    return content


def _write_test_tensors(folder: Path, model: Path, card: ModelCard) -> None:
    """Store a raw test image and what the network makes of it, in normalised units."""
    rng = np.random.default_rng(0)
    raw = rng.integers(100, 1000, (1, card.n_inputs, *_least_px(card))).astype(np.uint16)
    np.save(folder / "test_raw.npy", raw.astype(np.float32))
    spans = [_bioimageio_span(channel, card) for channel in raw[0]]
    outputs = open_network(model, card).run(raw, spans)
    for head, output in zip(card.heads, outputs, strict=True):
        np.save(folder / f"test_{head}.npy", _normalised(output, head, spans, card))


def _bioimageio_span(channel: NDArray[Any], card: ModelCard) -> Span:
    """bioimage.io scales to (x - low) / (high - low + 1e-6)."""
    low, high = np.percentile(channel.astype(np.float32), (card.low_percentile, card.high_percentile))
    return Span(float(low), float(high))


def _normalised(output: NDArray[np.float32], head: str, spans: list[Span], card: ModelCard) -> NDArray[np.float32]:
    if card.output != "counts" or head == "disagreement":
        return output.copy()
    parts = []
    for c, span in enumerate(spans[: output.shape[1]]):
        parts.append(span.apply(output[:, c]) if head == "mean" else output[:, c] / np.float32(span.width))
    return np.stack(parts, axis=1)


def _least_px(card: ModelCard) -> list[int]:
    """Return the smallest size of each axis: a tile must hold more than its halo."""
    pairs = zip(card.divisor, card.halo_px, strict=True)
    return [-(-(2 * halo + 8) // step) * step for step, halo in pairs]


def _describe(spec: Any, card: ModelCard, folder: Path) -> Any:
    """Return the model's description with its tensors, weights and tests."""
    test = spec.FileDescr
    preprocessing = spec.ScaleRangeDescr(
        kwargs={
            "axes": [_AXIS_IDS[axis] for axis in card.axes],
            "min_percentile": card.low_percentile,
            "max_percentile": card.high_percentile,
        }
    )
    raw = spec.InputTensorDescr(
        id="raw",
        axes=_input_axes(spec, card),
        test_tensor=test(source=folder / "test_raw.npy"),
        data=spec.IntervalOrRatioDataDescr(type="float32"),
        preprocessing=[preprocessing],
    )
    outputs = [
        spec.OutputTensorDescr(
            id=head, axes=_output_axes(spec, card), test_tensor=test(source=folder / f"test_{head}.npy")
        )
        for head in card.heads
    ]
    return spec.ModelDescr(
        name=f"care_live {card.name}"[:64],
        description=f"{card.network}. {card.limits}.",
        authors=[{"name": card.author or "unknown"}],
        license=card.licence or "BSD-3-Clause",
        documentation=test(source=folder / "README.md"),
        tags=["denoising", "fluorescence", "care"],
        inputs=[raw],
        outputs=outputs,
        weights=spec.WeightsDescr(onnx=spec.OnnxWeightsDescr(source=folder / "weights.onnx", opset_version=20)),
    )


def _input_axes(spec: Any, card: ModelCard) -> list[Any]:
    pairs = zip(_least_px(card), card.divisor, strict=True)
    sizes = [spec.ParameterizedSize(min=least, step=step) for least, step in pairs]
    space = [spec.SpaceInputAxis(id=_AXIS_IDS[axis], size=size) for axis, size in zip(card.axes, sizes, strict=True)]
    return [spec.BatchAxis(), spec.ChannelAxis(channel_names=_identifiers(card.channels_in)), *space]


def _output_axes(spec: Any, card: ModelCard) -> list[Any]:
    space = [
        spec.SpaceOutputAxisWithHalo(
            id=_AXIS_IDS[axis], halo=halo, size=spec.SizeReference(tensor_id="raw", axis_id=_AXIS_IDS[axis])
        )
        for axis, halo in zip(card.axes, card.halo_px, strict=True)
    ]
    return [spec.BatchAxis(), spec.ChannelAxis(channel_names=_identifiers(card.channels_out)), *space]


def _identifiers(names: tuple[str, ...]) -> list[str]:
    """bioimage.io requires channel names that are identifiers."""
    return [name if name.isidentifier() else f"channel{number}" for number, name in enumerate(names)]


def _readme(card: ModelCard) -> str:
    return (
        f"# {card.name}\n\n{card.network}\n\nInput: raw counts, scaled by the {card.low_percentile} and "
        f"{card.high_percentile} percentiles. Outputs, in that scale: {', '.join(card.heads)}.\n\n"
        f"Training data: {card.training.specimen or 'not stated'}. **{card.limits.capitalize()}.**\n"
    )
