"""A network on a device: inputs and outputs at addresses that stay, copies beside the work.

While one tile is computed, another one's results leave and the next one's pixels arrive. That takes a second place on
the device (its inputs and outputs, a few percent of what a run needs) and one thread that copies; the runs themselves
stay in one thread, one after the other: two at once would need twice the memory and a GPU's time all the same.

What it can gain, by counting: 32x1024x1024 counts come as 64 MiB and leave as 256 MiB. That is 80 ms at the 4 GB/s of
ordinary memory and 15 ms at the 24 GB/s of locked memory on PCIe 4, beside 100 to 400 ms of computing; cutting and
joining tiles on the host takes as long again, and goes beside the runs, too. As codes (`restore.quantised`) results
leave as 96 MiB; to read them takes a host 45 ms more than to copy numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.backends import cuda, session
from care_live.backends.failures import translated
from care_live.backends.session import Options, Session
from care_live.errors import OutOfMemoryError
from care_live.model import quantised_outputs

logger = logging.getLogger(__name__)

Array = NDArray[Any]
Inputs: TypeAlias = Mapping[str, Array]
HostResults: TypeAlias = tuple[Array, ...]
N_WARM_UP = 3
"""Runs before a shape is ready: cuDNN searches in the first, memory settles in the second."""
_ENDS = {"low": 0, "high": 1000}
_NOTICEABLE = 1e-3
"""Of the range: a tile that got another one's pixels differs by far more, rounding by far less."""


class DeviceBuffers:
    """Memory on a device for the inputs and outputs of one run, and on the host for both.

    Parameters
    ----------
    runs : onnxruntime's session
    blanks : zeros for every input, by name; on the CPU they are the device's memory themselves
    device : in onnxruntime's words
    way : how to copy
    n_runs : before it is ready
    """

    def __init__(
        self, runs: Any, blanks: Mapping[str, Array], device: str, way: cuda.Copies, *, n_runs: int = N_WARM_UP
    ) -> None:
        self._runs, self._way = runs, way
        make = session.runtime().OrtValue.ortvalue_from_numpy
        self._given = {name: make(blank, device, 0) for name, blank in blanks.items()}
        self._binding = runs.io_binding()
        for name, value in self._given.items():
            self._binding.bind_ortvalue_input(name, value)
        names = [output.name for output in runs.get_outputs()]
        for name in names:
            self._binding.bind_output(name, device, 0)
        for _ in range(n_runs):
            self.run()
        self._left = dict(zip(names, self._binding.get_outputs(), strict=True))
        for name, value in self._left.items():
            self._binding.bind_ortvalue_output(name, value)
        self._heads = quantised_outputs.outputs_of(tuple(names))
        self._forms = {name: form(value) for name, value in (*self._given.items(), *self._left.items())}
        self._pages: dict[str, Array] = {}
        """Page-locked memory on the host, of inputs and outputs that need it."""
        self._numbers: dict[str, Array] = {}
        """What the codes of an output mean, where the caller does not say where it should go."""

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Copy the inputs to the device, converted where they differ in type."""
        for name, value in self._given.items():
            source, (shape, dtype) = inputs[name], self._forms[name]
            if source.shape != shape:
                raise ValueError(f"{name} is {source.shape}, this session takes {shape}")
            if source.dtype != dtype or not source.flags.c_contiguous:
                np.copyto(self._page(name), source, casting="unsafe")
                source = self._page(name)
            self._way.to_device(source, value)

    def run(self) -> None:
        """Compute; returns when the results are there."""
        self._runs.run_with_iobinding(self._binding)

    def fetch(self, into: Sequence[Array] | None = None) -> tuple[Array, ...]:
        """Copy the outputs to the host: to the given arrays, or to memory of its own, valid until its next fetch."""
        targets = tuple(map(self._own, self._heads)) if into is None else tuple(into)
        for name, target in zip(self._heads, targets, strict=True):
            shape, dtype = self._forms[name]
            if quantised_outputs.ends_of(name) in self._left:
                found, ends = self._landed(name), self._landed(quantised_outputs.ends_of(name))
                quantised_outputs.read(found.reshape(target.shape), ends, target)
            elif target.dtype == dtype and target.size == np.prod(shape) and target.flags.c_contiguous:
                self._way.to_host(self._left[name], target)
            else:
                np.copyto(target, self._landed(name))
        return targets

    def _landed(self, name: str) -> Array:
        """Copy an output to its page as it is."""
        self._way.to_host(self._left[name], self._page(name))
        return self._page(name)

    def _own(self, name: str) -> Array:
        """Return memory of this place for the numbers of an output."""
        if quantised_outputs.ends_of(name) not in self._left:
            return self._page(name)
        if name not in self._numbers:
            self._numbers[name] = np.empty(self._forms[name][0], np.float32)
        return self._numbers[name]

    def _page(self, name: str) -> Array:
        if name not in self._pages:
            self._pages[name] = cuda.locked(*self._forms[name], self._way)
        return self._pages[name]


def form(value: Any) -> tuple[tuple[int, ...], Any]:
    """Return the shape and the numpy type of one of onnxruntime's values."""
    return tuple(value.shape()), session.dtype_of(value.data_type())


class DeviceSession:
    """A network at one shape on a CUDA device; see `session.OnnxSession` for the parameters and errors.

    With the CPU provider it does the same in the host's memory, which is how it is tested where there is no GPU.
    *way* is how arrays are copied; None: the fastest that works here.
    """

    def __init__(
        self,
        content: bytes,
        shapes: Mapping[str, Sequence[int]],
        options: Options,
        *,
        way: cuda.Copies | None = None,
    ) -> None:
        self.running, self._device = options.running, session.device(options)
        self._session = session.create(session.runtime(), content, shapes, options)
        self._shapes = {node.name: tuple(shapes[node.name]) for node in self._session.get_inputs()}
        self._types = {node.name: session.dtype_of(node.type) for node in self._session.get_inputs()}
        given = {output.name: session.dtype_of(output.type) for output in self._session.get_outputs()}
        self.outputs = quantised_outputs.outputs_of(tuple(given))
        self._flips = [quantised_outputs.OCTAVE_STEP if given[name] == np.uint8 else 0.0 for name in self.outputs]
        """Relative change of a number from one code to the next: an error of rounding may be as large."""
        self._way = way or way_of(options)
        is_recorded = options.cuda.get("enable_cuda_graph") == "1"  # with its addresses: it knows one place
        self._most_places = 1 if is_recorded else options.places
        self._places: list[DeviceBuffers] = []
        self.places(1)

    def run(self, inputs: Mapping[str, Array], into: Sequence[Array] | None = None) -> tuple[Array, ...]:
        """Run once; see `session.OnnxSession.run`."""
        place = self._places[0]
        with translated("inference"), self.running():
            place.load(inputs)
            place.run()
            return place.fetch(into)

    def places(self, n: int) -> tuple[DeviceBuffers, ...]:
        """Return at most `n` places; made, and looked at, at the first call that asks for them.

        Raises
        ------
        OutOfMemoryError
            Not even one fits; smaller tiles may.
        """
        while len(self._places) < min(n, self._most_places):
            if reason := self._add_place():
                logger.warning("copies_beside_runs=no reason=%s", reason)
                self._most_places = 1
                del self._places[1:]
        return tuple(self._places[:n])

    def _add_place(self) -> str:
        """Make one more; return why it cannot be used, if so."""
        blanks = {name: np.zeros(shape, self._types[name]) for name, shape in self._shapes.items()}
        n_runs = 1 if self._places else N_WARM_UP
        try:
            with translated("warm-up"):
                self._places.append(DeviceBuffers(self._session, blanks, self._device, self._way, n_runs=n_runs))
        except OutOfMemoryError as error:
            if not self._places:
                raise
            return str(error)
        return "" if len(self._places) == 1 or self._agrees() else "results differ from those of the same runs alone"

    def _agrees(self) -> bool:
        """Return whether runs in turns give the same results as runs alone: a driver may be wrong here."""
        fed = [{name: self._noise(name, seed) for name in self._shapes} for seed in range(3)]
        alone = [_copied(self.run(inputs)) for inputs in fed]
        turns: list[HostResults] = []
        with translated("warm-up"):
            _run_in_turns(
                self._places,
                len(fed),
                feed=fed.__getitem__,
                take=lambda _, results: turns.append(_copied(results)),
                running=self.running,
            )
        return all(
            np.allclose(a, b, rtol=flip, atol=_NOTICEABLE * np.ptp(a), equal_nan=True)
            for one, other in zip(alone, turns, strict=True)
            for a, b, flip in zip(one, other, self._flips, strict=True)
        )

    def _noise(self, name: str, seed: int) -> Array:
        """Return an input that differs from run to run, as a camera's does; the range stays."""
        if name in _ENDS:
            return np.full(self._shapes[name], _ENDS[name], self._types[name])
        return np.random.default_rng(seed).integers(0, 1000, self._shapes[name]).astype(self._types[name])


def run_each(session: Session, n: int, feed: Callable[[int], Inputs], take: Callable[[int, HostResults], None]) -> None:
    """Run a session n times; on a device the copies of one run go beside the work of another.

    Parameters
    ----------
    feed : gives the inputs of a run, by its number
    take : gets the results of a run, valid until it returns

    Each is called once for every run, in order, perhaps from another thread.

    Raises
    ------
    OutOfMemoryError, RestoreError
        As `Session.run`, and whatever the two functions raise.
    """
    if n > 1 and isinstance(session, DeviceSession) and len(places := session.places(2)) == 2:
        with translated("inference"):
            _run_in_turns(places, n, feed=feed, take=take, running=session.running)
        return
    for i in range(n):
        take(i, session.run(feed(i)))


def _run_in_turns(
    places: Sequence[DeviceBuffers],
    n: int,
    *,
    feed: Callable[[int], Inputs],
    take: Callable[[int, HostResults], None],
    running: Callable[[], AbstractContextManager[None]],
) -> None:
    """Run in one place while a thread empties and fills the other one, then the other way round.

    The thread ends with this call. It only copies, and the supervisor of this process sees a device that hangs, as
    every wait counts as part of a run.
    """

    def change(i: int) -> None:
        """Prepare run i, in the place that run i - 2 had."""
        if i >= 2:
            take(i - 2, places[i % 2].fetch())
        if i < n:
            places[i % 2].load(feed(i))

    with ThreadPoolExecutor(1, thread_name_prefix="copies") as copier:
        for i in range(n + 1):
            with running():
                changed = copier.submit(change, i)
                try:
                    if i > 0:
                        places[(i - 1) % 2].run()
                    changed.result()
                finally:
                    del changed  # or an error would hold this frame, and that the places, when memory is short
    take(n - 1, places[(n - 1) % 2].fetch())


def _copied(results: HostResults) -> HostResults:
    return tuple(result.copy() for result in results)


def way_of(options: Options) -> cuda.Copies:
    """Return how to copy to and from the provider's device, once it has shown that it copies."""
    if session.device(options) == "cpu" or not options.locked:
        return cuda.OnnxCopies()
    with translated("warm-up"):
        probe = np.zeros(4096, np.float32)
        value = session.runtime().OrtValue.ortvalue_from_numpy(probe, "cuda", 0)
        return cuda.checked(cuda.copies(), value, probe)
