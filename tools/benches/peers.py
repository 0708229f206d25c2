"""The same network, weights, volume and threads in CSBDeep, in bare ONNX Runtime, and here.

CSBDeep gets an environment of its own in a temporary folder (or ``--csbdeep PYTHON``, one that has it).
Weights are those of a trained CSBDeep network where given, else random. Fast mode is OpenVINO in bfloat16.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benches._pairs import Spent, bare_session, compare, counts, say, timed, worst
from care_live.model.unet_graph import UNet, build, convolution_shapes, seeded_weights
from care_live.restore.session import Options
from care_live.restore.streaming.whole import open_session

LOW, HIGH = 100.0, 3000.0
ENDS = {"low": np.array([LOW], np.float32), "high": np.array([HIGH], np.float32)}
_PEER = Path(__file__).with_name("_csbdeep_peer.py")


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="peers", description=__doc__)
    parser.add_argument("--field", type=int, default=256, help="pixels along y and x")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--csbdeep", type=Path, help="a Python that has csbdeep and tensorflow")
    asked = parser.parse_args(arguments)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        python = asked.csbdeep or _environment(Path(folder) / "env")
        for n_planes in (16, 32):
            figures |= _compared(asked, n_planes, Path(folder), python)
    return figures


def _compared(asked: argparse.Namespace, n_planes: int, folder: Path, python: Path) -> dict[str, float]:
    """Return every peer's time over ours, for one volume, and print the differences."""
    unet = UNet(filters=asked.filters)
    weights = seeded_weights(unet)
    model = build(unet, weights)
    raw = counts((1, 1, n_planes, asked.field, asked.field))
    _hand_over(folder, unet, weights, raw[0, 0])
    feeds, shapes = {"raw": raw, **ENDS}, {"raw": raw.shape, "low": (1,), "high": (1,)}
    content = model.SerializeToString()
    exact = open_session(content, shapes, Options(threads=asked.threads))
    bare, fast = bare_session(model, asked.threads), _fast(content, shapes, asked.threads)
    with _csbdeep(python, folder, asked.threads) as ask:
        works = {
            "exact": lambda: timed(lambda: exact.run(feeds)),
            "ort": lambda: timed(lambda: bare.run(None, feeds)),
            "csbdeep": lambda: ask("untiled"),
            "csbdeep_tiled": lambda: ask("tiled"),
        } | ({"fast": lambda: timed(lambda: fast.run(feeds))} if fast else {})
        for work in works.values():
            work()
        spent = {name: [] for name in works}
        for _ in range(asked.pairs):
            for name, work in works.items():
                spent[name].append(work())
        _say_differences(n_planes, bare.run(["mean"], feeds)[0][0, 0], exact.run(feeds)[0][0, 0], folder)
    return _ratios(spent, n_planes)


def _ratios(spent: dict[str, list[Spent]], n_planes: int) -> dict[str, float]:
    pairs = [("csbdeep", "exact"), ("ort", "exact"), ("csbdeep_tiled", "exact"), ("csbdeep", "fast")]
    figures = {}
    for theirs, ours in pairs:
        if ours in spent:
            ratio = compare(spent[theirs], spent[ours])
            say(f"{n_planes} planes: {theirs} over {ours} {ratio.wall:.2f} (CPU {ratio.cpu:.2f})")
            figures[f"{theirs}_over_{ours}_{n_planes}"] = ratio.wall
    return figures


def _say_differences(n_planes: int, reference: np.ndarray, exact: np.ndarray, folder: Path) -> None:
    csbdeep = np.load(folder / "mean.npy")
    say(
        f"{n_planes} planes: largest difference to bare ONNX Runtime: exact {worst(exact, reference):.1e}, "
        f"CSBDeep {worst(csbdeep, reference):.1e} of the largest value"
    )


def _fast(content: bytes, shapes: dict[str, tuple[int, ...]], threads: int):
    """Return fast mode, or None where OpenVINO is not installed."""
    from care_live.errors import ConfigError
    from care_live.restore.openvino import OpenVinoSession

    try:
        return OpenVinoSession(content, shapes, Options("openvino", threads, fast_mode=True))
    except ConfigError as error:
        say(f"no fast mode: {error}")
        return None


def _hand_over(folder: Path, unet: UNet, weights, raw: np.ndarray) -> None:
    """Write weights, volume and range where the peer reads them."""
    arrays = {}
    for order, ((name, _), convolution) in enumerate(zip(convolution_shapes(unet), weights, strict=True)):
        arrays |= {f"{name}_weight": convolution.weight, f"{name}_bias": convolution.bias, f"{name}_order": order}
    np.savez(folder / "weights.npz", **arrays)
    np.save(folder / "raw.npy", raw)
    np.save(folder / "ends.npy", np.array([LOW, HIGH], np.float32))


def _environment(folder: Path) -> Path:
    """Make a virtual environment with CSBDeep and the CPU's TensorFlow."""
    say("installing csbdeep and tensorflow-cpu into a temporary environment: a few minutes")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "-q", "csbdeep>=0.8", "tensorflow-cpu"], check=True, timeout=1200)
    return python


@contextmanager
def _csbdeep(python: Path, folder: Path, threads: int) -> Iterator[object]:
    """Keep CSBDeep running beside us; yields a function that asks it for one prediction."""
    command = [str(python), str(_PEER), str(folder), str(threads)]
    peer = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )

    def ask(how: str) -> Spent:
        print(how, file=peer.stdin, flush=True)
        answer = json.loads(peer.stdout.readline())
        return Spent(answer["wall_s"], answer["cpu_s"])

    try:
        if peer.stdout.readline().strip() != "ready":
            raise RuntimeError(f"CSBDeep did not start: run {' '.join(command)} to see why")
        yield ask
    finally:
        peer.stdin.close()
        peer.wait(timeout=60)
        peer.stdout.close()
