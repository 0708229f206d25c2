"""One command on a machine with a GPU: is restoration right there, and how fast?

    python tools/gpu_check.py --json gpu.json                  # on the GPU
    python tools/gpu_check.py --provider cpu --small           # anywhere; the test suite does it
    python tools/gpu_check.py --wheels DIR --json gpu.json     # without network: packages from carried wheels

First every precision, and every way of restoring, is compared with float32 on the CPU; a GPU that computes
something else ends the check with exit code 1. Then the ceiling: a matrix product, and the same network in torch,
where it is. Then each of our options against its opposite, results as codes against plain ones, and 32x512x512 and
32x1024x1024, with one member and five, whole, tiled and streamed.

Each part runs in a process of its own: one that fails or hangs leaves the others. What --minutes leaves no time for
is skipped and says so (--only speed torch makes up for it); the file has every row as soon as it is there. The
most telling parts come first, so that ten minutes suffice to know whether it is right and what each option gains.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from gpu import carried, parts  # noqa: E402 - found by the line above
from gpu.parts import Part  # noqa: E402

ALLOWED = {"fp32": 1e-4, "tf32": 2e-2, "fp16": 2e-2}
"""Largest difference from float32 on the CPU, in shares of the range."""
OPPOSITES = {
    "prefer_nhwc": "0",
    "fuse_conv_bias": "0",
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "cudnn_conv_use_max_workspace": "0",
    "arena_extend_strategy": "kNextPowerOfTwo",
    "enable_cuda_graph": "1",
}
"""Options of the CUDA provider, each with the value against which our default must defend itself."""
_SHORT_BYTES = 2 * 2**30
"""Of the device's memory: the larger volumes need more, and are cut."""
_LONGEST_S = 120.0
"""Of one part: cuDNN's exhaustive search takes its time."""


def main() -> None:
    asked = _arguments()
    with carried.within_reach(asked.wheels):
        figures = check(asked)
    compared = [row for title in ("correctness", "memory") for row in figures.get(title, [])]
    if failed := [row for row in (*figures["libraries"], *compared) if "refused" in row]:
        sys.exit("gpu_check: " + ", ".join(map(str, failed[0].values())))
    coded = [row for row in figures.get("quantised", []) if "refused" not in row]
    if wrong := [row for row in (*compared, *coded) if not row["largest"] <= ALLOWED[row["precision"]]]:
        row = wrong[0]
        sys.exit(
            f"gpu_check: {row['precision']} {row['way']} differs from the CPU by {row['largest']:.2g} of the range"
        )


def check(asked: argparse.Namespace) -> dict[str, Any]:
    """Run every part that there is time for; print, and write, each row as soon as it is there."""
    figures: dict[str, Any] = {"machine": _machine(), "provider": asked.provider}
    print(f"{figures['machine']}, provider {asked.provider}")
    until_s = time.monotonic() + 60 * asked.minutes
    for part in _parts(asked):
        if asked.only and part.title not in ("libraries", *asked.only):
            continue
        if part.title not in figures:
            print(f"\n{part.title}")
        rows = figures.setdefault(part.title, [])
        left_s = until_s - time.monotonic()
        for row in parts.run(part, min(left_s, _LONGEST_S)) if left_s > 0 else [part.name | {"refused": "no time"}]:
            print("  " + "  ".join(f"{name}={_figure(value)}" for name, value in row.items()), flush=True)
            rows.append(row)
            _write(asked.json, figures)
        if part.title == "libraries" and "refused" in rows[-1]:
            break  # nothing else can work
    return figures


def _parts(asked: argparse.Namespace) -> Iterator[Part]:
    """Yield all parts, the most telling ones first."""
    from gpu import measures
    from gpu.reference import torch_speed

    from care_live.model.unet_graph import UNetShape

    exact, *fast = _precisions(asked)
    unet, on_gpu = UNetShape(filters=4 if asked.small else 32), asked.provider == "cuda"
    n = asked.pairs or (1 if asked.small else 7)
    shapes = [(4, 104, 104)] if asked.small else [(32, 512, 512), (32, 1024, 1024)]
    compared = (4, 104, 104) if asked.small else (16, 160, 160)
    yield Part("libraries", {}, measures.libraries, (exact.options,))
    for precision in (exact, *fast):
        for way in precision.ways:
            case = measures.Case(unet, compared, way, precision)
            yield Part("correctness", {"precision": precision.name, "way": way}, measures.correctness, (case,))
    name = {"precision": exact.name, "way": "short of memory", "limit_gib": _SHORT_BYTES / 2**30}
    yield Part("memory", name, measures.shortage, (measures.Case(unet, shapes[0], "tiled", exact), _SHORT_BYTES))
    side = 256 if asked.small else 8192
    for precision in (exact, *fast[:-1]):
        name = {"what": f"matrix product {side}", "precision": precision.name}
        yield Part("peak", name, measures.peak, (precision.options, side, n))
    if on_gpu:
        yield Part("torch", {}, torch_speed, (unet, shapes[0], n))
    yield from _own_options(unet, shapes[0], (exact, *fast), n)
    for option, other in OPPOSITES.items() if on_gpu else ():
        case = measures.Case(unet, shapes[0], "whole", exact)
        opposite = case.with_options(cuda={option: other})
        yield Part("options", {"option": option, "against": other}, measures.against, (case, opposite, n))
    for shape in shapes:
        for members in (1, 2 if asked.small else 5):
            for way in measures.WAYS:
                able = [precision for precision in (exact, *fast) if way in precision.ways]
                cases = tuple(measures.Case(unet, shape, way, precision, members) for precision in able)
                name = {"shape": "x".join(map(str, shape)), "members": members, "way": way}
                yield Part("speed", name, measures.speed, (cases, n))
    if on_gpu:
        yield Part("torch", {}, torch_speed, (unet, shapes[-1], n))


def _own_options(unet: Any, shape: tuple[int, int, int], precisions: Sequence[Any], n: int) -> Iterator[Part]:
    """Yield what care_live itself does about copies, each against doing without, where copies weigh most."""
    from gpu import measures

    for option, other, ways in (("places", 1, ("tiled",)), ("locked", False, measures.WAYS)):
        for way in ways:
            ours = measures.Case(unet, shape, way, _fastest(precisions, way))
            name = {"option": option, "against": other, "way": way, "precision": ours.precision.name}
            yield Part("copies", name, measures.against, (ours, ours.with_options(**{option: other}), n))
    for way in measures.WAYS:
        plain = measures.Case(unet, shape, way, _fastest(precisions, way))
        name = {"way": way, "precision": plain.precision.name}
        yield Part("quantised", name, measures.quantised, (plain.with_options(quantised=True), plain, n))


def _fastest(precisions: Sequence[Any], way: str) -> Any:
    """Return the last of the precisions, slowest first, in which this way of restoring can compute."""
    return [precision for precision in precisions if way in precision.ways][-1]


def _precisions(asked: argparse.Namespace) -> list[Any]:
    from gpu.measures import Precision

    from care_live.backends.session import Options

    threads = 1 if asked.small else 0
    exact, fast = (Options(asked.provider, threads, fast) for fast in (False, True))
    between = [Precision("tf32", fast, half=False)] if asked.provider == "cuda" else []
    return [Precision("fp32", exact, half=False), *between, Precision("fp16", fast, half=True)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="small volumes and network: seconds, to see that it runs")
    parser.add_argument("--pairs", type=int, help="repetitions of each timing")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after this number of minutes (9)")
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="run these tables alone: speed, torch, ...")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to take packages from, before installed ones")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def _write(path: Path | None, figures: dict[str, Any]) -> None:
    """Write all that is known so far; a reader sees a whole file at any time."""
    if path is not None:
        fresh = path.with_name(path.name + ".part")
        fresh.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        os.replace(fresh, path)  # noqa: PTH105 - says that it replaces


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _machine() -> str:
    """Name the GPU where the driver's own tool does, else the processor."""
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"{platform.processor() or platform.machine()} without a GPU"


if __name__ == "__main__":
    main()
