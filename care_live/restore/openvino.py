"""The only door to OpenVINO: the same ONNX file on Intel and AMD processors, exact or in bfloat16."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from care_live.errors import ModelError
from care_live.imports import need
from care_live.model import rewrite
from care_live.restore.session import Options, n_threads, translated

Array = NDArray[Any]


class OpenVinoSession:
    """A network at one shape in OpenVINO; see `session.OnnxSession` for the parameters.

    Exact mode asks for float32; fast mode for bfloat16, which moves results by a few percent of the
    predicted Laplace scale and is told to every watcher.
    """

    def __init__(self, content: bytes, shapes: Mapping[str, Sequence[int]], options: Options) -> None:
        openvino = _import()
        with translated("loading the network into OpenVINO"):
            runtime = openvino.Core()
            model = runtime.read_model(_lighter(content))
            model.reshape({name: list(shape) for name, shape in shapes.items()})
            settings = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "bf16" if options.fast_mode else "f32",
                "INFERENCE_NUM_THREADS": n_threads(options.threads),
            }
            self._request = runtime.compile_model(model, "CPU", settings).create_infer_request()
        self.outputs = tuple(output.get_any_name() for output in model.outputs)
        self._inputs = {node.get_any_name(): node.get_element_type().to_dtype() for node in model.inputs}

    def run(self, inputs: Mapping[str, Array], into: Sequence[Array] | None = None) -> tuple[Array, ...]:
        """Run once; see `session.OnnxSession.run`."""
        feeds = {name: np.ascontiguousarray(inputs[name], dtype) for name, dtype in self._inputs.items()}
        with translated("inference"):
            self._request.infer(feeds, share_inputs=True)
        results = tuple(self._request.get_output_tensor(i).data for i in range(len(self.outputs)))
        if into is None:
            return results
        for target, result in zip(into, results, strict=True):
            np.copyto(target, result)
        return tuple(into)


def has_bfloat16() -> bool:
    """Return whether this processor computes in bfloat16; any other imitates it, slower than float32."""
    return "BF16" in _import().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _lighter(content: bytes) -> bytes:
    """Return the same network with a decoder of transposed convolutions, a fifth less work, where it has one."""
    try:
        rewritten: bytes = rewrite.transpose_decoder(onnx.load_model_from_string(content)).SerializeToString()
    except ModelError:
        return content
    return rewritten


def _import() -> ModuleType:
    """Import OpenVINO without its telemetry, which would report the import to a server: it does without, too."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return need("openvino", extra="openvino")
