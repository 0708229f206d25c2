"""The only module that calls OpenVINO: the same file on Intel and AMD processors, exact, in bfloat16 or in 8 bits."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from care_live.backends.failures import translated
from care_live.backends.session import Options, n_threads
from care_live.backends.signal_stack import signal_stack_kept
from care_live.errors import ModelError
from care_live.imports import need
from care_live.model import rewrite
from care_live.model.merge_heads import join_heads

Array = NDArray[Any]
Precision = Literal["f32", "bf16", "int8"]


class OpenVinoSession:
    """A network at one shape in OpenVINO; see `session.OnnxSession` for the parameters.

    Exact mode computes in float32; fast mode, where the processor can, in bfloat16, which moves results by a few
    percent of the predicted Laplace scale, for all viewers and the store.
    """

    def __init__(
        self,
        content: bytes,
        shapes: Mapping[str, Sequence[int]],
        options: Options,
        precision: Literal["f32", "bf16"] = "f32",
    ) -> None:
        self._compiled = Compiled(lighter(content), shapes, options, precision)
        self.outputs = self._compiled.outputs

    def run(self, inputs: Mapping[str, Array], into: Sequence[Array] | None = None) -> tuple[Array, ...]:
        """Run once; see `session.OnnxSession.run`."""
        return handed_over(self._compiled.run(inputs), into)


class Compiled:
    """A graph that OpenVINO has compiled for one shape.

    Parameters
    ----------
    model : any graph
    shapes : of every input, by name
    options : threads, and what surrounds every run
    precision : of what the graph computes in float32
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        shapes: Mapping[str, Sequence[int]],
        options: Options,
        precision: Literal["f32", "bf16"] = "f32",
    ) -> None:
        openvino = _import()
        with translated("loading the network into OpenVINO"):
            runtime = openvino.Core()
            graph = runtime.read_model(model.SerializeToString())
            graph.reshape({name: list(shape) for name, shape in shapes.items()})
            settings = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": precision,
                "INFERENCE_NUM_THREADS": n_threads(options.threads),
            }
            with signal_stack_kept():
                self._request = runtime.compile_model(graph, "CPU", settings).create_infer_request()
        self.outputs = tuple(output.name for output in model.graph.output)  # OpenVINO may know them by other names, too
        self._inputs = {node.get_any_name(): node.get_element_type().to_dtype() for node in graph.inputs}
        self._running = options.running

    def run(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        """Run once; the results are overwritten by the next run."""
        feeds = {name: np.ascontiguousarray(inputs[name], dtype) for name, dtype in self._inputs.items()}
        with translated("inference"), self._running():
            self._request.infer(feeds, share_inputs=True)
        return tuple(self._request.get_output_tensor(i).data for i in range(len(self.outputs)))


def handed_over(results: Sequence[Array], into: Sequence[Array] | None) -> tuple[Array, ...]:
    """Return a network's results, in arrays of the caller's where there are some."""
    if into is None:
        return tuple(results)
    for target, result in zip(into, results, strict=True):
        np.copyto(target, result)
    return tuple(into)


def fast_precision() -> Precision:
    """Return what fast mode computes in on this processor; f32 where nothing is faster than that.

    Without bfloat16 OpenVINO imitates it, at a third of the speed of float32.
    """
    if "BF16" in _import().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return "bf16"
    return "int8" if platform.machine().lower() in {"x86_64", "amd64"} else "f32"


def lighter(content: bytes) -> onnx.ModelProto:
    """Return the same network with less work: a decoder of transposed convolutions, where it has one, and one head."""
    model = onnx.load_model_from_string(content)
    try:
        return join_heads(rewrite.transpose_decoder(rewrite.fold_batch_norm(model)))
    except ModelError:
        return model


def _import() -> ModuleType:
    """Import OpenVINO without its telemetry, which would report the import to a server."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return need("openvino", extra="openvino")
