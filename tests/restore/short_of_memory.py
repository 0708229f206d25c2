"""Restores one volume again and again while allocations fail, one place after the other; run by test_short_memory.py.

``python -m tests.restore.short_of_memory NETWORK STREAMING N_FAILING``, with failing_malloc.so preloaded, prints one
line of JSON: how often each outcome was seen.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from care_live.config import NormaliseConfig, RestoreConfig
from care_live.errors import OutOfMemoryError
from care_live.restore.engine import Engine
from care_live.restore.repair import Maps
from tests.make.networks import noisy, volume
from tests.make.streams import begun

SHAPE = (4, 192, 200)
LEAST_BYTES = 64 * 1024
"""Every array of the volume has more; protobuf, which crashes where it gets no memory, asks for less at once."""
FIXED = NormaliseConfig(mode="fixed", low_counts=100, high_counts=300)
_LIBRARY = ctypes.CDLL(None)


def fail(first: int, n: int) -> None:
    """Let n allocations fail, from this one on; n below 0: all."""
    _LIBRARY.arm(ctypes.c_long(first), ctypes.c_long(n), ctypes.c_size_t(LEAST_BYTES))


def succeed() -> None:
    """Let allocations do what they do."""
    _LIBRARY.arm(ctypes.c_long(-1), ctypes.c_long(0), ctypes.c_size_t(2**62))


class Case:
    """An engine that has restored a small volume, and a large one to come."""

    def __init__(self, path: Path, streaming: str) -> None:
        self.engine = Engine(path, RestoreConfig(provider="cpu", threads=1, normalise=FIXED, streaming=streaming))  # type: ignore[arg-type]
        self.engine.restore([volume(noisy((4, 16, 16)))])
        self.streams, self.stack = streaming == "on", volume(noisy(SHAPE))
        self.maps: Maps = self.engine.empty(SHAPE)

    def restore(self) -> np.ndarray:
        stream = begun(self.engine, self.stack.pixels, self.maps, plane_s=1.0)[0] if self.streams else None
        (result,) = self.engine.restore([self.stack], self.maps, stream=stream)
        return result.mean

    def outcome(self, wanted: np.ndarray, first: int, n: int) -> str:
        fail(first, n)
        try:
            mean = self.restore()
            succeed()  # to compare takes memory, too
            said = "equal" if alike(mean, wanted) else "different"
        except OutOfMemoryError:
            said = "refused"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        succeed()
        return f"{said}, then {'equal' if alike(self.restore(), wanted) else 'different'}"


def alike(mean: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.abs(mean - wanted).max() <= 1e-5 * np.ptp(wanted))


def main() -> None:
    path, streaming, n = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    wanted = Case(path, streaming).restore().copy()
    case = Case(path, streaming)
    fail(-1, 0)
    case.restore()
    n_allocations = int(_LIBRARY.counted())
    succeed()
    outcomes = Counter(Case(path, streaming).outcome(wanted, first, n) for first in range(n_allocations))
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
