"""Fair comparisons on a machine that is never quite idle: alternate A B A B, and take the median of the ratios."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from care_live.images import Counts


class Spent(NamedTuple):
    """What one run took."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Compared:
    """Medians over all pairs."""

    wall: float
    """Ours over theirs, wall time."""
    cpu: float
    """The same in CPU seconds, which other processes disturb less."""


def timed(work: Callable[[], object]) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def compare(ours: list[Spent], theirs: list[Spent]) -> Compared:
    pairs = list(zip(ours, theirs, strict=True))
    return Compared(
        statistics.median(mine.wall_s / other.wall_s for mine, other in pairs),
        statistics.median(mine.cpu_s / other.cpu_s for mine, other in pairs),
    )


def alternate(n_pairs: int, *works: Callable[[], object]) -> list[list[Spent]]:
    """Run all works in turn, `n_pairs` times, after one run each that does not count."""
    for work in works:
        work()
    spent: list[list[Spent]] = [[] for _ in works]
    for _ in range(n_pairs):
        for i, work in enumerate(works):
            spent[i].append(timed(work))
    return spent


def bare_session(model: onnx.ModelProto, threads: int, provider: str = "cpu"):
    """Open onnxruntime's own session in the usual way: the file, the provider, the number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    providers = [f"{provider.upper()}ExecutionProvider"]
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)


def counts(shape: tuple[int, ...], seed: int = 0) -> Counts:
    return np.random.default_rng(seed).integers(90, 4000, shape).astype(np.uint16)


def worst(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Return the largest difference as a share of the largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
