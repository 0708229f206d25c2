"""Peak resident memory against volume size, whole and streamed; five networks in one file against five sessions.

Each figure comes from a process of its own, which says how far its memory grew while it restored.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benches._pairs import say

_ONE = Path(__file__).with_name("_memory_of_one.py")
_SIZES = ((16, 128, 128), (32, 128, 128), (32, 192, 192))


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="memory", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args(arguments)
    figures: dict[str, float] = {}
    for shape in _SIZES:
        size = "x".join(map(str, shape))
        for how in ("bare", "exact", "streamed"):
            figures[f"{how}_{size}_mib"] = _grown(how, shape, asked.threads)
            say(f"{how} {size}: {figures[f'{how}_{size}_mib']:.0f} MiB")
    for how in ("merged_5", "sessions_5"):
        figures[f"{how}_mib"] = _grown(how, _SIZES[0], asked.threads)
    figures["exact_over_bare"] = figures["exact_32x192x192_mib"] / figures["bare_32x192x192_mib"]
    figures["merged_over_sessions"] = figures["merged_5_mib"] / figures["sessions_5_mib"]
    return figures


def _grown(how: str, shape: tuple[int, int, int], threads: int) -> float:
    command = [sys.executable, str(_ONE), how, *map(str, shape), str(threads)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return float(json.loads(answer.stdout)["grown_mib"])
