"""Networks that these tests run: CSBDeep's trained one, and seeded ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from care_live.model.unet_graph import ConvolutionWeights, UNetShape, build, convolution_shapes, seeded_weights

RANGE = {"low": np.array([100], np.float32), "high": np.array([3000], np.float32)}


def options() -> ort.SessionOptions:
    chosen = ort.SessionOptions()
    chosen.intra_op_num_threads = 1
    chosen.log_severity_level = 3
    return chosen


def run(model: onnx.ModelProto, inputs: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
    """Return the outputs of one untiled run, by name."""
    session = ort.InferenceSession(model.SerializeToString(), options(), providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs), strict=True))


def seeded(seed: int = 0, **architecture: object) -> onnx.ModelProto:
    unet = UNetShape(**architecture)
    return build(unet, seeded_weights(unet, seed))


def counts(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(90, 4000, shape).astype(np.uint16)


def csbdeep_weights(path: Path, unet: UNetShape) -> tuple[ConvolutionWeights, ...]:
    """Read a Keras weights file of CSBDeep in the order of `convolution_shapes`."""
    import h5py

    stem = f"conv{len(unet.axes)}d"
    with h5py.File(path) as file:
        return tuple(_read(file, _keras_name(name, stem)) for name, _ in convolution_shapes(unet))


def _keras_name(name: str, stem: str) -> str:
    if name in ("mean", "laplace_scale"):
        return stem if name == "mean" else f"{stem}_1"
    place, i = name.split("_")
    if place.startswith("down"):
        return f"down_level_{place[4:]}_no_{i}"
    last = "2" if i == "1" else i
    return f"middle_{last}" if place == "bottom" else f"up_level_{place[2:]}_no_{last}"


def _read(file: object, name: str) -> ConvolutionWeights:
    group = file[name][name]
    kernel = np.asarray(group["kernel"], np.float32)
    order = (kernel.ndim - 1, kernel.ndim - 2, *range(kernel.ndim - 2))
    return ConvolutionWeights(np.ascontiguousarray(kernel.transpose(order)), np.asarray(group["bias"], np.float32))
