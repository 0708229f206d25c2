"""Peak memory against volume size, whole and streamed, resident and on the device; an ensemble against its members.

Each figure comes from a process of its own, which says how far its memory grew from before its sessions were opened
until it had restored two volumes; ``counted_over_…`` is what our own count gives a volume over how far memory grew
beyond the open sessions.
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
    parser.add_argument("--provider", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shape", type=int, nargs=3, metavar=("Z", "Y", "X"), help="of one size instead of three")
    asked = parser.parse_args(arguments)
    sizes = [tuple(asked.shape)] if asked.shape else _SIZES
    figures: dict[str, float] = {}
    for shape in sizes:
        size = "x".join(map(str, shape))
        for how in ("bare", "exact", "streamed"):
            figures |= _named(f"{how}_{size}", grown(how, shape, asked.threads, asked.provider))
    for how in ("sessions_5", "merged_5", "streamed_5"):
        figures |= _named(how, grown(how, sizes[0], asked.threads, asked.provider))
    figures["exact_over_bare"] = figures[f"exact_{size}_mib"] / figures[f"bare_{size}_mib"]
    figures["merged_over_sessions"] = figures["merged_5_mib"] / figures["sessions_5_mib"]
    return figures


def _named(name: str, grown: dict[str, float]) -> dict[str, float]:
    say(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in grown.items()))
    named = {"grown_mib": f"{name}_mib", "opened_mib": f"{name}_opened_mib", "device_mib": f"{name}_device_mib"}
    return {named.get(key, f"counted_over_{name}"): value for key, value in grown.items()}


def grown(how: str, shape: tuple[int, ...], threads: int, provider: str = "cpu") -> dict[str, float]:
    """Return what `_memory_of_one.py` measures for one way and size."""
    command = [sys.executable, str(_ONE), how, *map(str, shape), str(threads), provider]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600)
    figures: dict[str, float] = json.loads(answer.stdout)
    return figures
