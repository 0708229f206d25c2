"""The same network, weights, volume and threads in CSBDeep, in bare ONNX Runtime, and here; CAREamics beside them.

Weights are seeded, or those of ``--model FOLDER``, a 3D CSBDeep network of one channel (config.json and
weights). CAREamics cannot take them: its own network with as many filters runs on the same volume, whole and
in its tiles. Fast mode is OpenVINO in bfloat16, or in 8 bits where the processor has none. The peers live in
environments of their own, made once and kept in the user's cache, or given with ``--csbdeep`` and ``--careamics``
(a Python that has it, or ``no``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from benches._pairs import Spent, bare_session, compare, counts, say, timed, worst
from care_live.backends.session import Options, Session
from care_live.errors import ConfigError
from care_live.model.csbdeep import import_csbdeep
from care_live.model.unet_graph import UNetShape, build, convolution_shapes, seeded_weights
from care_live.restore.select import opener

LOW, HIGH = 100.0, 3000.0
ENDS = {"low": np.array([LOW], np.float32), "high": np.array([HIGH], np.float32)}
_BARE = "ort"


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="peers", description=__doc__)
    parser.add_argument("--field", type=int, default=256, help="pixels along y and x")
    parser.add_argument("--planes", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--model", type=Path, help="folder of a trained CSBDeep network")
    parser.add_argument("--csbdeep", help="a Python that has csbdeep and tensorflow, or no")
    parser.add_argument("--careamics", help="a Python that has careamics, or no")
    asked = parser.parse_args(arguments)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        model = _network(asked, Path(folder))
        for n_planes in asked.planes:
            figures |= _compared(asked, model, n_planes, Path(folder))
    return figures


def _network(asked: argparse.Namespace, folder: Path) -> onnx.ModelProto:
    """Return the network as an ONNX model; leave its weights where the peer reads them."""
    if asked.model:
        import_csbdeep(asked.model, folder / "network.onnx")
        return onnx.load(folder / "network.onnx")
    unet = UNetShape(filters=asked.filters)
    weights = seeded_weights(unet)
    arrays = {}
    for order, ((name, _), convolution) in enumerate(zip(convolution_shapes(unet), weights, strict=True)):
        arrays |= {f"{name}_weight": convolution.weight, f"{name}_bias": convolution.bias, f"{name}_order": order}
    np.savez(folder / "weights.npz", **arrays)
    return build(unet, weights)


def _compared(asked: argparse.Namespace, model: onnx.ModelProto, n_planes: int, folder: Path) -> dict[str, float]:
    """Return every peer's time over ours, for one volume, and print the differences."""
    raw = counts((1, 1, n_planes, asked.field, asked.field))
    np.save(folder / "raw.npy", raw[0, 0])
    np.save(folder / "ends.npy", np.array([LOW, HIGH], np.float32))
    feeds, shapes = {"raw": raw, **ENDS}, {"raw": raw.shape, "low": (1,), "high": (1,)}
    content = model.SerializeToString()
    bare, sessions = bare_session(model, asked.threads), _ours(content, shapes, asked.threads)
    works = {name: partial(timed, partial(session.run, feeds)) for name, session in sessions.items()}
    works[_BARE] = lambda: timed(lambda: bare.run(None, feeds))
    with ExitStack() as running:
        for peer in ("csbdeep", "careamics"):
            if (python := getattr(asked, peer) or _environment(peer)) != "no":
                works |= _asked(peer, running.enter_context(_peer(peer, python, folder, asked)))
        spent = _alternated(works, asked.pairs)
        wanted = bare.run(["mean"], feeds)[0][0, 0]
        ours = {name: way.run(feeds)[way.outputs.index("mean")][0, 0] for name, way in sessions.items()}
        _say_differences(n_planes, wanted, ours, folder / "mean.npy")
    return _ratios(spent, n_planes)


def _asked(peer: str, ask: Callable[[str], Spent]) -> dict[str, Callable[[], Spent]]:
    return {peer: lambda: ask("untiled"), f"{peer}_tiled": lambda: ask("tiled")}


def _alternated(works: dict[str, Callable[[], Spent]], n_pairs: int) -> dict[str, list[Spent]]:
    """Run all in turn, after one run each that does not count."""
    for work in works.values():
        work()
    spent: dict[str, list[Spent]] = {name: [] for name in works}
    for _ in range(n_pairs):
        for name, work in works.items():
            spent[name].append(work())
    return spent


def _ratios(spent: dict[str, list[Spent]], n_planes: int) -> dict[str, float]:
    figures = {}
    ways = [name for name in ("exact", "fast") if name in spent]
    for ours in ways:
        for theirs, runs in spent.items():
            if theirs in ways:
                continue
            ratio = compare(runs, spent[ours])
            say(f"{n_planes} planes: {theirs} over {ours} {ratio.wall:.2f} (CPU {ratio.cpu:.2f})")
            figures[f"{theirs}_over_{ours}_{n_planes}"] = ratio.wall
            figures[f"{theirs}_over_{ours}_{n_planes}_cpu"] = ratio.cpu
    cheapest = {name: min(run.cpu_s for run in runs) for name, runs in spent.items()}
    say(f"{n_planes} planes, least CPU seconds: {', '.join(f'{k} {v:.2f}' for k, v in cheapest.items())}")
    return figures


def _say_differences(n_planes: int, reference: np.ndarray, ours: dict[str, np.ndarray], csbdeep: Path) -> None:
    differences = [f"{name} {worst(mean, reference):.1e}" for name, mean in ours.items()]
    if csbdeep.exists():
        differences.append(f"CSBDeep {worst(np.load(csbdeep), reference):.1e}")
    say(f"{n_planes} planes: largest difference to bare ONNX Runtime: {', '.join(differences)} of the largest value")


def _ours(content: bytes, shapes: dict[str, tuple[int, ...]], threads: int) -> dict[str, Session]:
    """Return exact and fast mode; the second only where there is one."""
    ways = {"exact": Options(threads=threads), "fast": Options("openvino", threads, fast_mode=True)}
    sessions = {}
    for name, options in ways.items():
        try:
            sessions[name] = opener(options)(content, shapes, options)
        except ConfigError as error:
            say(f"no {name} mode: {error}")
    return sessions


def _environment(peer: str) -> str:
    """Return the interpreter of a peer's environment; the first time it takes some minutes to make."""
    from benches.training import environment

    return str(environment(peer))


@contextmanager
def _peer(name: str, python: str, folder: Path, asked: argparse.Namespace) -> Iterator[Callable[[str], Spent]]:
    """Keep a peer running beside us; yields a function that asks it for one prediction."""
    script, what = Path(__file__).with_name(f"_{name}_inference.py"), str(asked.model or asked.filters)
    command = [python, str(script), str(folder), str(asked.threads), what]
    peer = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )

    def ask(how: str) -> Spent:
        print(how, file=peer.stdin, flush=True)
        answer = json.loads(peer.stdout.readline())
        return Spent(answer["wall_s"], answer["cpu_s"])

    try:
        if peer.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{name} did not start: run {' '.join(command)} to see why")
        yield ask
    finally:
        peer.stdin.close()
        peer.wait(timeout=60)
        peer.stdout.close()
