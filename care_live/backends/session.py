"""The only module that calls onnxruntime: one session for one network at one fixed shape.

Shapes are fixed because cuDNN plans anew whenever one changes (onnxruntime issue 23006), and outputs are
written into buffers that stay, because allocation costs more than a small network.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType, ModuleType
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.backends.failures import cpu_instead, refusing_cpu, translated
from care_live.errors import ConfigError
from care_live.imports import need

Provider: TypeAlias = Literal["cuda", "tensorrt", "cpu", "openvino"]
Array: TypeAlias = NDArray[Any]

_PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider", "cpu": "CPUExecutionProvider"}


@dataclass(frozen=True, slots=True)
class Options:
    """How a network is run."""

    provider: Provider = "cpu"
    threads: int = 0
    """On the CPU; 0: as many as this process may use."""
    fast_mode: bool = False
    """Allow TF32 on a GPU, bfloat16 or 8 bits with OpenVINO."""
    quantised: bool = False
    """Let results leave a device as `care_live.model.quantised_outputs`; those who run networks on one read them."""
    cuda: Mapping[str, str] = field(default_factory=dict)
    """Options of the CUDA provider that differ from `cuda_options`."""
    device_bytes: int = 0
    """Most device memory to take; 0: no limit."""
    places: int = 2
    """On a device, for inputs and outputs: with two, copies for one tile run beside the work on another."""
    locked: bool = True
    """Copy to and from a device by way of page-locked memory."""
    running: Callable[[], AbstractContextManager[None]] = nullcontext
    """Entered around every run."""
    float_input: bool = False
    """Feed float32 whatever the graph's input says: its pixels are no camera counts."""


class Session(Protocol):
    """A network at one shape."""

    outputs: tuple[str, ...]

    def run(self, inputs: Mapping[str, Array], into: Sequence[Array] | None = None) -> tuple[Array, ...]:
        """Run once. Without `into` the results are buffers of the session, valid until its next run."""
        ...


class OnnxSession:
    """A network at one shape in onnxruntime, fed from the host's memory; for a GPU see `device.DeviceSession`.

    Parameters
    ----------
    content : the ONNX file
    shapes : of every input, by name
    options : provider, threads, precision

    Raises
    ------
    ConfigError
        The provider cannot run here.
    OutOfMemoryError
        The weights do not fit.
    RestoreError
        onnxruntime refuses the network.
    """

    def __init__(self, content: bytes, shapes: Mapping[str, Sequence[int]], options: Options) -> None:
        self._runtime, self._running = runtime(), options.running
        self._session = create(self._runtime, content, shapes, options)
        self.outputs = tuple(output.name for output in self._session.get_outputs())
        self._inputs = {node.name: dtype_of(node.type) for node in self._session.get_inputs()}

    def run(self, inputs: Mapping[str, Array], into: Sequence[Array] | None = None) -> tuple[Array, ...]:
        """Run once.

        Parameters
        ----------
        inputs : arrays by input name; converted to the graph's types where they differ
        into : C-contiguous float32 arrays that receive the outputs; without them the session's own buffers
            do, which its next run overwrites

        Raises
        ------
        OutOfMemoryError
            Smaller tiles may fit.
        RestoreError
            Any other failure of onnxruntime.
        """
        feeds = {name: np.ascontiguousarray(inputs[name], dtype) for name, dtype in self._inputs.items()}
        with translated("inference"), self._running():
            return self._run(feeds, into)

    def _run(self, feeds: dict[str, Array], into: Sequence[Array] | None) -> tuple[Array, ...]:
        if into is None:
            return tuple(self._session.run(None, feeds))
        binding = self._session.io_binding()
        for name, value in feeds.items():
            binding.bind_cpu_input(name, value)
        for name, value in zip(self.outputs, into, strict=True):
            binding.bind_output(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        self._session.run_with_iobinding(binding)
        return tuple(into)


def runtime() -> ModuleType:
    """Import onnxruntime, once it is certain that its two packages are not installed over each other.

    Raises
    ------
    ConfigError
        Neither is installed, or both in one folder; the message says what to install or remove.
    """
    folders = {name: folder for name in ("onnxruntime", "onnxruntime-gpu") if (folder := installed_in(name))}
    refuse_twins(folders)
    if not folders:
        raise ConfigError("onnxruntime is not installed: pip install 'care-live[cpu]', or 'care-live[gpu]' for NVIDIA")
    return need("onnxruntime", extra="cpu")


def refuse_twins(folders: Mapping[str, str]) -> None:
    """Raise a ConfigError when both onnxruntime packages share a folder: they overwrite each other's files."""
    if len(folders) > len(set(folders.values())):
        raise ConfigError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            "pip uninstall both, then install one of 'care-live[cpu]' and 'care-live[gpu]'"
        )


def n_threads(asked: int) -> int:
    """Return the number of inference threads: as set, or one for each core that this process may use."""
    if asked:
        return asked
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device(options: Options) -> str:
    """Return onnxruntime's name for where a provider keeps its values."""
    return "cuda" if options.provider in {"cuda", "tensorrt"} else "cpu"


def cuda_options(options: Options) -> dict[str, str]:
    """Return the options of the CUDA provider: defaults of ours, then what the caller sets against them.

    Exact mode forbids TF32, which has ten mantissa bits: reduced precision must be chosen by the user.
    """
    chosen = {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "1",
        "fuse_conv_bias": "1",
        "prefer_nhwc": "1",
        "use_tf32": "1" if options.fast_mode else "0",
    }
    if options.device_bytes:
        chosen["gpu_mem_limit"] = str(options.device_bytes)
    return chosen | dict(options.cuda)


def create(
    module: ModuleType,
    content: bytes,
    shapes: Mapping[str, Sequence[int]],
    options: Options,
    *,
    entries: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Return onnxruntime's own session, on the chosen provider and no other.

    Parameters
    ----------
    entries : further settings of the session, in onnxruntime's words
    """
    wanted = _PROVIDERS[options.provider]
    if wanted not in module.get_available_providers():
        raise ConfigError(
            f"this onnxruntime has no {options.provider} provider (it has "
            f"{', '.join(module.get_available_providers())}): pip install 'care-live[gpu]', or set provider = 'cpu'"
        )
    with refusing_cpu(options.provider), translated("loading the network"):
        settings = _settings(module, content, shapes, options)
        for name, value in entries.items():
            settings.add_session_config_entry(name, value)
        session = module.InferenceSession(content, settings, providers=_provider_list(options))
    if session.get_providers()[0] != wanted:  # onnxruntime would run on the CPU without a warning
        raise ConfigError(cpu_instead(options.provider))
    return session


def _settings(module: ModuleType, content: bytes, shapes: Mapping[str, Sequence[int]], options: Options) -> Any:
    settings = module.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = n_threads(options.threads)
    settings.inter_op_num_threads = 1
    settings.enable_mem_pattern = options.provider != "cpu"  # why not on a CPU: why_onnxruntime_live.md
    settings.enable_mem_reuse = options.provider != "cpu"
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other threads need the cores, too
    if options.provider != "cpu":
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    for name, size in _free_dimensions(content, shapes).items():
        settings.add_free_dimension_override_by_name(name, size)
    return settings


def _provider_list(options: Options) -> list[tuple[str, dict[str, str]]]:
    if options.provider == "cpu":
        return [(_PROVIDERS["cpu"], {})]
    cuda = (_PROVIDERS["cuda"], cuda_options(options))
    return [cuda] if options.provider == "cuda" else [(_PROVIDERS["tensorrt"], {"device_id": "0"}), cuda]


def _free_dimensions(content: bytes, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return the size of every named free dimension of the graph's inputs."""
    if not shapes:
        return {}
    graph = need("onnx", extra="cpu").load_model_from_string(content).graph
    return {
        dimension.dim_param: size
        for node in graph.input
        if node.name in shapes
        for dimension, size in zip(node.type.tensor_type.shape.dim, shapes[node.name], strict=False)
        if dimension.dim_param
    }


def dtype_of(onnx_type: str) -> Any:
    """Return the numpy type of onnxruntime's ``tensor(...)``."""
    name = onnx_type.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64"}.get(name, name))


def installed_in(distribution: str) -> str:
    """Return where a package is installed; empty if it is not."""
    try:
        return str(importlib.metadata.distribution(distribution).locate_file(""))
    except importlib.metadata.PackageNotFoundError:
        return ""
