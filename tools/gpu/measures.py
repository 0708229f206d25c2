"""What ``tools/gpu_check.py`` measures, each as rows of a table: alternating pairs, medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from benches._pairs import alternate, compare
from benches.efficiency import products
from numpy.typing import NDArray

from care_live.errors import CareLiveError
from care_live.model.unet_graph import UNet
from care_live.percentiles import Span
from care_live.restore.session import OnnxSession, Options
from care_live.restore.streaming import field
from care_live.restore.streaming.plan import Refused
from care_live.tiling import tile_shape, tiles
from gpu.networks import ENDS, card, matrix_product, network, volume

Row = dict[str, Any]
_SPAN = Span(float(ENDS["low"][0]), float(ENDS["high"][0]))

OPPOSITES: dict[str, str] = {
    "prefer_nhwc": "0",
    "fuse_conv_bias": "0",
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "cudnn_conv_use_max_workspace": "0",
    "arena_extend_strategy": "kNextPowerOfTwo",
    "enable_cuda_graph": "1",
}
"""Options of the CUDA provider, each with the value against which our default must defend itself."""


@dataclass(frozen=True)
class Precision:
    """A way of computing."""

    name: str
    options: Options
    half: bool


@dataclass(frozen=True)
class Setup:
    """What is measured, and with what."""

    unet: UNet
    provider: str
    precisions: tuple[Precision, ...]
    n_pairs: int
    small_shape: tuple[int, int, int]


def correctness(setup: Setup) -> Iterator[Row]:
    """Compare every precision with float32 on the CPU, in shares of the output's range."""
    raw = volume(setup.small_shape)
    wanted = _session(setup.unet, raw.shape, Options("cpu")).run(_feeds(raw))
    for precision in setup.precisions:
        got = _session(setup.unet, raw.shape, precision.options, half=precision.half).run(_feeds(raw))
        off = [(first - second) / np.ptp(first) for first, second in zip(wanted, got, strict=True)]
        yield {
            "precision": precision.name,
            "largest": max(float(np.abs(part).max()) for part in off),
            "rms": max(float(np.sqrt(np.square(part).mean())) for part in off),
        }


def peak(setup: Setup, side: int) -> Row:
    """Measure a float32 matrix product: the ceiling that useful work is compared with."""
    model = matrix_product(side).SerializeToString()
    square = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
    session = OnnxSession(model, {"a": square.shape, "b": square.shape}, setup.precisions[0].options)
    took = _median(setup.n_pairs, lambda: session.run({"a": square, "b": square}))
    return {"what": f"matrix product {side}", "ms": 1e3 * took, "gflops": 2 * side**3 / took / 1e9}


def speed(setup: Setup, shape: tuple[int, int, int], members: int) -> Iterator[Row]:
    """Time a volume whole, two at once, in four tiles and streamed, copies to and from the device included."""
    for precision in setup.precisions:
        ways: dict[str, Callable[[Setup, Precision, tuple[int, int, int], int], Row]]
        ways = {"whole": _whole, "overlapped": _overlapped, "tiled": _tiled, "streamed": _streamed}
        for way, measure in ways.items():
            head: Row = {
                "shape": "x".join(map(str, shape)),
                "members": members,
                "way": way,
                "precision": precision.name,
            }
            try:
                row = measure(setup, precision, shape, members)
            except CareLiveError as error:  # a volume may be too large for one way and not for another
                row = {"refused": str(error)[:120]}
            yield head | row


def options(setup: Setup, shape: tuple[int, int, int]) -> Iterator[Row]:
    """Set each option of the CUDA provider against its opposite, our default first."""
    raw = volume(shape)
    for name, opposite in OPPOSITES.items() if setup.provider == "cuda" else ():
        try:
            ours, other = (
                _session(setup.unet, raw.shape, Options("cuda", cuda=changed)) for changed in ({}, {name: opposite})
            )
            spent = alternate(setup.n_pairs, lambda s=ours: s.run(_feeds(raw)), lambda s=other: s.run(_feeds(raw)))
        except CareLiveError as error:
            yield {"option": name, "against": opposite, "refused": str(error)[:120]}
            continue
        yield {"option": name, "against": opposite, "ours_over_other": compare(*spent).wall}


def _whole(setup: Setup, precision: Precision, shape: tuple[int, int, int], members: int) -> Row:
    raw = volume(shape)
    session = _session(setup.unet, raw.shape, precision.options, members=members, half=precision.half)
    took = _median(setup.n_pairs, lambda: session.run(_feeds(raw)))
    return _row(setup, took, shape, members)


def _overlapped(setup: Setup, precision: Precision, shape: tuple[int, int, int], members: int) -> Row:
    """Let two threads restore volumes with a session each: one copies while the other one computes."""
    raw = volume(shape)
    sessions = [
        _session(setup.unet, raw.shape, precision.options, members=members, half=precision.half) for _ in range(2)
    ]
    with ThreadPoolExecutor(len(sessions), thread_name_prefix="overlapped") as threads:

        def work() -> None:
            for done in [threads.submit(session.run, _feeds(raw)) for session in sessions]:
                done.result()

        took = _median(setup.n_pairs, work) / len(sessions)
    return _row(setup, took, shape, members)


def _tiled(setup: Setup, precision: Precision, shape: tuple[int, int, int], members: int) -> Row:
    """Cut y and x once, with the halo of the card."""
    described = card(setup.unet, members)
    largest = (shape[0], *((n // 2 + 2 * halo) for n, halo in zip(shape[1:], described.halo_px[1:], strict=True)))
    size = tile_shape(shape, largest, described.halo_px, described.divisor)
    cut = tiles(shape, largest, described.halo_px, described.divisor)
    raw = volume(shape)
    session = _session(setup.unet, (1, 1, *size), precision.options, members=members, half=precision.half)

    def work() -> None:
        out = [np.empty(raw.shape, np.float32) for _ in session.outputs]
        for tile in cut:
            for target, result in zip(out, session.run(_feeds(raw[(..., *tile.read)])), strict=True):
                target[(..., *tile.write)] = result[(..., *tile.keep)]

    return _row(setup, _median(setup.n_pairs, work), shape, members) | {"tiles": len(cut)}


def _streamed(setup: Setup, precision: Precision, shape: tuple[int, int, int], members: int) -> Row:
    """Push plane after plane; what counts is the time from the last plane to the finished volume."""
    model = network(setup.unet, members=members, half=precision.half)
    planned = field.plan(model, card(setup.unet, members), shape)
    if isinstance(planned, Refused):
        return {"refused": planned.reason}
    pipeline = field.FieldPipeline(planned, card(setup.unet, members), precision.options)
    raw = volume(shape)[0, 0]
    last, total = [], []
    for _ in range(setup.n_pairs + 1):
        into = {head: np.empty((1, *shape), np.float32) for head in card(setup.unet, members).heads}
        begun = time.perf_counter()
        stream = pipeline.begin([_SPAN], into)
        for z, plane in enumerate(raw):
            before_last = time.perf_counter()
            stream.place(0, z, plane)
        stream.finish()
        last.append(time.perf_counter() - before_last)
        total.append(time.perf_counter() - begun)
    return _row(setup, statistics.median(total[1:]), shape, members) | {"last_ms": 1e3 * statistics.median(last[1:])}


def _row(setup: Setup, took_s: float, shape: tuple[int, int, int], members: int) -> Row:
    useful = 2 * members * products(setup.unet, shape)
    return {"ms": 1e3 * took_s, "useful_tflops": useful / took_s / 1e12}


def _session(
    unet: UNet, shape: tuple[int, ...], options: Options, *, members: int = 1, half: bool = False
) -> OnnxSession:
    shapes = {"raw": shape, "low": (1,), "high": (1,)}
    return OnnxSession(network(unet, members=members, half=half).SerializeToString(), shapes, options)


def _feeds(raw: NDArray[np.uint16]) -> Mapping[str, NDArray[Any]]:
    return {"raw": raw, **ENDS}


def _median(n: int, work: Callable[[], object]) -> float:
    return statistics.median(spent.wall_s for spent in alternate(n, work)[0])
