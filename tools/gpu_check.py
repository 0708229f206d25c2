"""One command on a machine with a GPU: is restoration right there, and how fast?

    python tools/gpu_check.py --json gpu.json                  # on the GPU
    python tools/gpu_check.py --provider cpu --small           # anywhere; the test suite does it
    python tools/gpu_check.py --wheels DIR                     # without network: packages from carried files

First every precision is compared with float32 on the CPU; a GPU that computes something else ends the check
with exit code 1. Then 32x512x512 and 32x1024x1024 are timed, with one member and five, whole, two at once
(copies of one beside the work of the other), tiled and streamed; each option of the CUDA provider against its
opposite; and the same network in torch, where it is.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

ALLOWED = {"fp32": 1e-4, "tf32": 2e-2, "fp16": 2e-2}
"""Largest difference from float32 on the CPU, in shares of the range."""
NEEDED = {
    "onnxruntime": "onnxruntime-gpu[cuda,cudnn]",
    "onnx": "onnx",
    "pydantic": "pydantic",
    "psutil": "psutil",
    "rich": "rich",
}


def main() -> None:
    asked = _arguments()
    install_missing(asked.wheels)
    from care_live.errors import CareLiveError

    try:
        figures = check(asked)
    except CareLiveError as error:
        sys.exit(f"gpu_check: {error}")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    wrong = [row for row in figures["correctness"] if not row["largest"] <= ALLOWED[row["precision"]]]
    if wrong:
        sys.exit(f"gpu_check: {wrong[0]['precision']} differs from the CPU by {wrong[0]['largest']:.2g} of the range")


def check(asked: argparse.Namespace) -> dict[str, Any]:
    """Run everything; print each table as soon as it is there."""
    from gpu import measures
    from gpu.reference import torch_speed

    from care_live.restore.provider import cudnn_version

    setup = _setup(asked)
    shapes = [(4, 104, 104)] if asked.small else [(32, 512, 512), (32, 1024, 1024)]
    figures: dict[str, Any] = {"machine": _machine(), "cudnn": cudnn_version(), "provider": asked.provider}
    print(f"{figures['machine']}, provider {asked.provider}, cuDNN {figures['cudnn'] or 'unknown'}")
    figures["correctness"] = _show("Difference from float32 on the CPU", measures.correctness(setup))
    figures["peak"] = _show("Ceiling", [measures.peak(setup, 256 if asked.small else 8192)])
    speeds = (
        row
        for shape in shapes
        for members in (1, 2 if asked.small else 5)
        for row in measures.speed(setup, shape, members)
    )
    figures["speed"] = _show("A volume, copies included", speeds)
    figures["options"] = _show("Options, ours over the other", measures.options(setup, shapes[0]))
    reference = (row for shape in shapes for row in torch_speed(setup.unet, shape, setup.n_pairs))
    figures["torch"] = _show("Upper reference", reference if asked.provider == "cuda" else [])
    return figures


def install_missing(wheels: Path | None) -> None:
    """Install what this machine lacks: from carried files where given, never from anywhere unasked."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return
    if wheels is None:
        sys.exit(
            f"gpu_check: {', '.join(missing)} not installed: pip install 'care-live[gpu]', or carry wheels: --wheels"
        )
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(wheels), *missing]
    subprocess.run(command, check=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="small volumes and network: seconds, to see that it runs")
    parser.add_argument("--pairs", type=int, help="repetitions of each timing")
    parser.add_argument("--wheels", type=Path, help="folder of packages to install what is missing from")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def _setup(asked: argparse.Namespace) -> Any:
    from gpu.measures import Precision, Setup

    from care_live.model.unet_graph import UNet
    from care_live.restore.session import Options

    threads = 1 if asked.small else 0
    exact, fast = (Options(asked.provider, threads, fast) for fast in (False, True))
    precisions = [Precision("fp32", exact, half=False), Precision("fp16", fast, half=True)]
    if asked.provider == "cuda":
        precisions.insert(1, Precision("tf32", fast, half=False))
    return Setup(
        UNet(filters=4 if asked.small else 32),
        asked.provider,
        tuple(precisions),
        asked.pairs or (1 if asked.small else 7),
        (8, 32, 32) if asked.small else (16, 128, 128),
    )


def _show(title: str, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print rows as they come; return them."""
    kept = []
    for row in rows:
        if not kept:
            print(f"\n{title}")
        print("  " + "  ".join(f"{name}={_figure(value)}" for name, value in row.items()), flush=True)
        kept.append(row)
    return kept


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _machine() -> str:
    """Name the GPU where the driver's own tool does, else the processor."""
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"{platform.processor() or platform.machine()} without a GPU"


if __name__ == "__main__":
    main()
