"""Sessions that pass values on to each other without a copy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.backends import cuda, session
from care_live.backends.device import form, way_of
from care_live.backends.failures import translated
from care_live.backends.session import Options
from care_live.model import quantised_outputs
from care_live.planewise import emit
from care_live.planewise.schedule import StepGraph

Kept: TypeAlias = cuda.OnDevice
"""An array that stays where the network runs."""
_SHARED = {"session.use_env_allocators": "1"}


class ChainedSession:
    """One step of a stream.

    Parameters
    ----------
    content : the step's ONNX file, all shapes fixed
    options : as for the whole network

    Raises
    ------
    OutOfMemoryError
        The weights do not fit.
    RestoreError
        onnxruntime refuses the graph.
    """

    def __init__(self, content: bytes, options: Options) -> None:
        self._device, self._running = session.device(options), options.running
        shared = _SHARED if self._device == "cpu" and _share_memory() else {}
        self._session = session.create(_runtime(), content, {}, options, entries=shared)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Kept]) -> dict[str, Kept]:
        """Run once; everything stays where the network runs.

        Raises
        ------
        OutOfMemoryError
            Too many caches for this memory: restore whole volumes in tiles instead.
        RestoreError
            Any other failure.
        """
        with translated("inference of a step"), self._running():
            binding = self._session.io_binding()
            for name, value in inputs.items():
                binding.bind_ortvalue_input(name, value)
            for name in self._outputs:
                binding.bind_output(name, self._device)
            self._session.run_with_iobinding(binding)
            left = binding.get_outputs_as_ortvaluevector()
            return {name: _alone(left, i) for i, name in enumerate(self._outputs)}


def _alone(left: Any, i: int) -> Kept:
    """Return one result in a vector of its own: in the binding's it would keep all others alive, and all inputs."""
    vector = type(left)()
    vector.push_back(left[i])
    kept: Kept = _runtime().OrtValue(vector[0])
    return kept


class Landing:
    """Host memory for results of a device: page-locked and used again.

    Parameters
    ----------
    way : how results are copied; None: the fastest that works here
    """

    def __init__(self, options: Options, *, way: cuda.Copies | None = None) -> None:
        self._way = way or way_of(options)
        self._on_device = way is not None or session.device(options) != "cpu"
        self._arrays: dict[tuple[tuple[int, ...], Any], NDArray[Any]] = {}
        self._numbers: dict[tuple[int, ...], NDArray[np.float32]] = {}

    def fetch(self, value: Kept, ends: Kept | None = None) -> NDArray[np.float32]:
        """Return a result on the host, valid until the next one of its shape.

        Parameters
        ----------
        ends : what codes are read with; None: it is numbers

        Raises
        ------
        RestoreError
            The device has failed.
        """
        if ends is None:
            return self._landed(value)
        found = self._landed(value)
        if found.shape not in self._numbers:
            self._numbers[found.shape] = np.empty(found.shape, np.float32)
        quantised_outputs.read(found, self._landed(ends), self._numbers[found.shape])
        return self._numbers[found.shape]

    def _landed(self, value: Kept) -> NDArray[Any]:
        if not self._on_device:
            return value.numpy()
        key = form(value)
        if key not in self._arrays:
            self._arrays[key] = cuda.locked(*key, self._way)
        with translated("fetching a plane"):
            self._way.to_host(value, self._arrays[key])
        return self._arrays[key]


@cache
def _runtime() -> ModuleType:
    """Return onnxruntime; to look which packages are installed takes milliseconds, so that is done once."""
    return session.runtime()


@cache
def _share_memory() -> bool:
    """Let all steps of a process use one arena: with one each, every arena would keep the peak of its step."""
    module = _runtime()
    info = module.OrtMemoryInfo("Cpu", module.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, module.OrtMemType.DEFAULT)
    module.create_and_register_allocator(info, None)
    _emptier()  # when memory has run out it is too late to make it
    return True


def give_back(options: Options) -> None:
    """Give back the arena's unused memory: by itself it stays as large as at its peak.

    Where memory has run out, smaller tiles could not run: numpy has an arena of its own.
    """
    if session.device(options) == "cpu" and _share_memory():
        run = _runtime().RunOptions()
        run.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        _emptier().run(None, {"in0": np.zeros(1, np.float32)}, run)


@cache
def _emptier() -> Any:
    """Return a session that is only there because the arena shrinks after a run, and at no other time."""
    graph = StepGraph((("Neg", ("in0",), "out0", ()),), (("in0", (1,)),), (("out0", (1,)),))
    content = emit.write(graph, {}, opset=20, raw={})
    return session.create(_runtime(), content, {}, Options(threads=1), entries=_SHARED)


def keep(array: NDArray[Any], options: Options) -> Kept:
    """Put an array where the network runs; on the CPU that is no copy, so the array must not change."""
    with translated("handing over a plane"):
        kept: Kept = _runtime().OrtValue.ortvalue_from_numpy(array, session.device(options), 0)
    return kept
