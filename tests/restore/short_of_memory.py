"""Restores one volume again and again while allocations fail, one place after the other; run by test_short_memory.py.

``python -m tests.restore.short_of_memory NETWORK STREAMING N_FAILING``, with failing_malloc.so preloaded, prints one
line of JSON: how often each outcome was seen.
"""

from __future__ import annotations

import ctypes
import json
import os
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

    def __init__(self, path: Path, streaming: str, *, evidence: bool = True) -> None:
        more = {"streaming": streaming, "evidence": evidence, "normalise": FIXED}
        self.engine = Engine(path, RestoreConfig.model_validate({"provider": "cpu", "threads": 1} | more))
        self.engine.restore([volume(noisy((4, 16, 16)))])
        self.streams, self.stack = streaming == "on", volume(noisy(SHAPE))
        self.maps: Maps = self.engine.empty(SHAPE)

    def restore(self) -> np.ndarray:
        stream = begun(self.engine, self.stack.pixels, self.maps, plane_s=1.0)[0] if self.streams else None
        (result,) = self.engine.restore([self.stack], self.maps, stream=stream)
        return result.mean

    def n_allocations(self) -> int:
        """Return how many allocations it takes to restore the large one."""
        fail(-1, 0)
        self.restore()
        n = int(_LIBRARY.counted())
        succeed()
        return n

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
    """Fail every allocation while the volume is restored, and every fourth while the result is examined, which is last.

    The examination takes most of the allocations, and has one way out for all of them; with CARE_LIVE_FAULTS=full each
    of them fails, too.
    """
    path, streaming, n = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    wanted = Case(path, streaming).restore().copy()
    n_allocations = Case(path, streaming).n_allocations()
    n_restoring = Case(path, streaming, evidence=False).n_allocations()
    step = 1 if os.environ.get("CARE_LIVE_FAULTS") == "full" else 4
    firsts = [*range(n_restoring), *range(n_restoring, n_allocations, step)]
    print(json.dumps(Counter(Case(path, streaming).outcome(wanted, first, n) for first in firsts)))


if __name__ == "__main__":
    main()
