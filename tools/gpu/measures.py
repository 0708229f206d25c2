"""What ``tools/gpu_check.py`` measures, each as rows of a table: alternating pairs, medians, and differences."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from benches._pairs import Spent, compare, timed
from benches.efficiency import products
from numpy.typing import NDArray

from care_live.backends import cuda
from care_live.backends.device import DeviceSession, way_of
from care_live.backends.session import OnnxSession, Options, runtime
from care_live.errors import CareLiveError
from care_live.maps import Head
from care_live.model import quantised_outputs
from care_live.model.unet_graph import UNetShape
from care_live.percentiles import Span
from care_live.planewise import tiles
from care_live.planewise.plan import NotPlanewise
from care_live.restore.select import cudnn_version
from care_live.restore.tiled import Network
from gpu.carried import load_cuda
from gpu.networks import ENDS, card, matrix_product, network, volume

Row = dict[str, Any]
Shape: TypeAlias = tuple[int, int, int]
Results: TypeAlias = list[NDArray[np.float32]]
Way: TypeAlias = Literal["whole", "tiled", "streamed"]
WAYS: tuple[Way, ...] = ("whole", "tiled", "streamed")
_SPAN = Span(float(ENDS["low"][0]), float(ENDS["high"][0]))
_LONGEST_S = 8.0
"""Of one timing: what takes long is repeated less often, but three times."""


@dataclass(frozen=True)
class Precision:
    """A way of computing."""

    name: str
    options: Options
    half: bool

    @property
    def ways(self) -> tuple[Way, ...]:
        """Ways of restoring that can compute so: the steps of a stream are written in float32."""
        return WAYS[:2] if self.half else WAYS


@dataclass(frozen=True)
class Case:
    """What is restored, and how."""

    unet: UNetShape
    shape: Shape
    way: Way
    precision: Precision
    members: int = 1

    def with_options(self, **changed: Any) -> Case:
        """Return the same, run with other options."""
        options = replace(self.precision.options, **changed)
        return replace(self, precision=replace(self.precision, options=options))


def libraries(options: Options) -> Iterator[Row]:
    """Return which libraries work here, and by which way pixels get to the device."""
    _ready(options)
    square = np.eye(64, dtype=np.float32)
    session = DeviceSession(matrix_product(64).SerializeToString(), {"a": square.shape, "b": square.shape}, options)
    assert (session.run({"a": square, "b": square})[0] == square).all()
    yield {
        "onnxruntime": runtime().__version__,
        "cudnn": cudnn_version() or "unknown",
        "page_locked": isinstance(way_of(options), cuda.RuntimeCopies),
        "copies_beside_runs": len(session.places(2)) == 2,
    }


def correctness(case: Case) -> Iterator[Row]:
    """Compare with float32 on the CPU, whole, by onnxruntime alone; in shares of the output's range."""
    _ready(case.precision.options)
    raw = volume(case.shape)
    content = network(case.unet, members=case.members).SerializeToString()
    plain = OnnxSession(content, {"raw": raw.shape, "low": (1,), "high": (1,)}, Options("cpu"))
    yield _differences(plain.run({"raw": raw, **ENDS}), opened(case)())


def shortage(case: Case, device_bytes: int) -> Iterator[Row]:
    """Restore with too little memory: tiles must shrink, and the result stay what it is with enough."""
    _ready(case.precision.options)
    wanted = [result.copy() for result in opened(replace(case, way="whole"))()]
    cramped = _Tiled(case.with_options(device_bytes=device_bytes), tile_px=case.shape)
    yield _differences(wanted, cramped()) | {"degraded": cramped.network.degraded}


def peak(options: Options, side: int, n: int) -> Iterator[Row]:
    """Measure a float32 matrix product: the ceiling that useful work is compared with."""
    _ready(options)
    square = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
    shapes = {"a": square.shape, "b": square.shape}
    session = DeviceSession(matrix_product(side).SerializeToString(), shapes, options)
    place = session.places(1)[0]
    place.load({"a": square, "b": square})
    (spent,) = _alternate(n, place.run)
    took = _median(spent)
    yield {"ms": 1e3 * took, "gflops": 2 * side**3 / took / 1e9}


def speed(cases: tuple[Case, ...], n: int) -> Iterator[Row]:
    """Time a volume in each of several precisions, copies to and from the device included."""
    _ready(cases[0].precision.options)
    for case in cases:
        head: Row = {"precision": case.precision.name}
        try:
            yield head | _speed(case, n)
        except CareLiveError as error:  # what is too large in one precision may fit in the next
            yield head | {"refused": str(error)[:200]}


def _speed(case: Case, n: int) -> Row:
    work = opened(case)
    (spent,) = _alternate(n, work)
    took = _median(spent)
    useful = 2 * case.members * products(case.unet, case.shape)
    last = {"last_ms": 1e3 * work.last_s} if isinstance(work, _Streamed) else {}
    return {"ms": 1e3 * took, "useful_tflops": useful / took / 1e12} | last


def against(ours: Case, other: Case, n: int) -> Iterator[Row]:
    """Set a way of running against its opposite: how much faster, and whether it gives the same."""
    _ready(ours.precision.options)
    works = opened(ours), opened(other)
    differs = _differences(*(work() for work in works))["largest"]
    yield _raced(*works, n) | {"differs": differs}


def quantised(coded: Case, plain: Case, n: int) -> Iterator[Row]:
    """Set results as codes against plain ones: how much faster, and how far off beyond half a step of these."""
    _ready(coded.precision.options)
    works = opened(coded), opened(plain)
    maps = zip(_heads(coded), *(work() for work in works), strict=True)
    beyond = [
        ((np.abs(got - wanted) - quantised_outputs.slack(head, wanted)) / np.ptp(wanted)).max()
        for head, got, wanted in maps
    ]
    yield _raced(*works, n) | {"largest": float(np.maximum(np.max(beyond), 0))}  # NaN stays one


def _raced(ours: Callable[[], object], other: Callable[[], object], n: int) -> Row:
    mine, theirs = _alternate(n, ours, other)
    ratio = compare(mine, theirs).wall
    return {"ms": 1e3 * _median(mine), "other_ms": 1e3 * _median(theirs), "ours_over_other": ratio}


def opened(case: Case) -> Callable[[], Results]:
    """Return what restores one volume, ready to be called again and again; results are valid until the next call."""
    return {"whole": _Whole, "tiled": _Tiled, "streamed": _Streamed}[case.way](case)


class _Whole:
    """At once, into the caller's memory, locked as that of the inference process is."""

    def __init__(self, case: Case) -> None:
        raw, options = volume(case.shape), case.precision.options
        shapes = {"raw": raw.shape, "low": (1,), "high": (1,)}
        model = (
            quantised_outputs.coded(_model(case), {head: head for head in _heads(case)})
            if options.quantised
            else _model(case)
        )
        self._session = DeviceSession(model.SerializeToString(), shapes, options)
        way = way_of(options)
        self._raw = cuda.locked(raw.shape, raw.dtype, way)
        self._raw[:] = raw
        self._into = [cuda.locked(raw.shape, np.float32, way) for _ in self._session.outputs]

    def __call__(self) -> Results:
        return list(self._session.run({"raw": self._raw, **ENDS}, self._into))


class _Tiled:
    """Cut once along y and x, with the halo of the card, unless a tile is given."""

    def __init__(self, case: Case, tile_px: Shape | None = None) -> None:
        described, options = card(case.unet, case.members), case.precision.options
        y, x = (n // 2 + 2 * halo for n, halo in zip(case.shape[1:], described.halo_px[1:], strict=True))
        self._tile_px, self._raw = tile_px or (case.shape[0], y, x), volume(case.shape)
        with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
            path = Path(folder) / "network.onnx"
            onnx.save(_model(case), path)
            self.network = Network(path, described, options, open_session=DeviceSession)
        self._out = [np.empty(self._raw.shape, np.float32) for _ in described.heads]

    def __call__(self) -> Results:
        self.network.predict(self._raw, [_SPAN], self._out, tile_px=self._tile_px)
        return self._out


class _Streamed:
    """Plane after plane, as a camera gives them."""

    last_s = 0.0
    """Shortest time from the last plane to the finished volume."""

    def __init__(self, case: Case) -> None:
        described = card(case.unet, case.members)
        planned = tiles.plan(_model(case), described, case.shape)
        if isinstance(planned, NotPlanewise):
            raise ValueError(str(planned))
        self._pipeline = tiles.TileSessions(planned, described, case.precision.options)
        self._raw = volume(case.shape)[0, 0]
        self._into = {head: np.empty((1, *case.shape), np.float32) for head in described.heads}

    def __call__(self) -> Results:
        stream = self._pipeline.begin([_SPAN], self._into)
        for z, plane in enumerate(self._raw):
            before_last = time.perf_counter()
            stream.place(0, z, plane)
        stream.finish()
        took = time.perf_counter() - before_last
        self.last_s = min(self.last_s or took, took)
        return [array[np.newaxis] for array in self._into.values()]


def _ready(options: Options) -> None:
    if options.provider == "cuda":
        load_cuda()


def _model(case: Case) -> onnx.ModelProto:
    return network(case.unet, members=case.members, half=case.precision.half)


def _heads(case: Case) -> tuple[Head, ...]:
    return card(case.unet, case.members).heads


def _differences(wanted: Any, got: Any) -> Row:
    off = [(first - second) / np.ptp(first) for first, second in zip(wanted, got, strict=True)]
    return {
        "largest": max(float(np.abs(part).max()) for part in off),
        "rms": max(float(np.sqrt(np.square(part).mean())) for part in off),
    }


def _alternate(n: int, *works: Callable[[], object]) -> list[list[Spent]]:
    """Run all works in turn, after one run each that does not count; less often where that takes long."""
    first = sum(timed(work).wall_s for work in works)
    n = max(min(n, 3), min(n, int(_LONGEST_S / first)))
    spent = [[timed(work) for work in works] for _ in range(n)]
    return [list(column) for column in zip(*spent, strict=True)]


def _median(spent: list[Spent]) -> float:
    return statistics.median(one.wall_s for one in spent)
