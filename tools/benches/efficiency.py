"""Useful floating-point operations a second, over what a matrix product reaches on this machine in the same minute.

Useful are the operations of the network as published (a 3D convolution counts 27 products), whatever the
rewritten graph does in fact; so a figure above 1 is possible. ``done_over_peak`` counts the operations that are
done: what it lacks to 1 is what any faster way of doing the same could gain. The peak is that of the matrix
size that runs best, for large ones may wait for memory. Times are CPU seconds, which other processes disturb
least.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

from benches._pairs import Spent, alternate, bare_session, counts, say
from care_live.backends.session import Options
from care_live.model.unet_graph import UNetShape, build, convolution_shapes, seeded_weights
from care_live.planewise.plan import StreamPlan, plan_whole
from care_live.planewise.whole_volume import open_session

ENDS = {"low": np.array([100], np.float32), "high": np.array([3000], np.float32)}
_SIDES = (256, 512, 1024, 2048)


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="efficiency", description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(16, 192, 192), metavar=("Z", "Y", "X"))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args(arguments)
    unet = UNetShape()
    model = build(unet, seeded_weights(unet))
    raw = counts((1, 1, *asked.shape))
    shapes = {"raw": raw.shape, "low": (1,), "high": (1,)}
    ours = open_session(model.SerializeToString(), shapes, Options(threads=asked.threads))
    bare = bare_session(model, asked.threads)
    feeds = {"raw": raw, **ENDS}
    works = [lambda: ours.run(feeds), lambda: bare.run(None, feeds)]
    mine, plain, *squares = alternate(asked.pairs, *works, *(_matrix_product(side, asked.threads) for side in _SIDES))
    peaks = [_peak(times) for times in zip(*squares, strict=True)]
    plan, useful = plan_whole(model, raw.shape), products(unet, asked.shape)
    assert isinstance(plan, StreamPlan), plan
    done = sum(step.products for step in plan.steps)
    say(
        f"matrix product {asked.threads * max(peaks) / 1e9:.0f} GFLOP/s; network {2 * useful / raw.size:.0f} FLOP a "
        f"voxel, of which {2 * done / raw.size:.0f} are done"
    )
    return {
        "exact_over_peak": _share(useful, mine, peaks),
        "done_over_peak": _share(done, mine, peaks),
        "ort_over_peak": _share(useful, plain, peaks),
        "peak_gflops": asked.threads * max(peaks) / 1e9,
    }


def _peak(times: tuple[Spent, ...]) -> float:
    """Return the operations a CPU second of the matrix size that ran best."""
    return max(2 * side**3 / spent.cpu_s for side, spent in zip(_SIDES, times, strict=True))


def _share(n_products: int, runs: list[Spent], peaks: list[float]) -> float:
    return statistics.median(2 * n_products / run.cpu_s / peak for run, peak in zip(runs, peaks, strict=True))


def products(unet: UNetShape, shape: tuple[int, int, int]) -> int:
    """Return the multiplications of the network as published."""
    total = 0
    for name, weight in convolution_shapes(unet):
        level = unet.depth if name.startswith("bottom") else int("".join(filter(str.isdigit, name.split("_")[0])) or 0)
        voxels = np.prod([n // factor**level for n, factor in zip(shape, unet.pool, strict=True)])
        total += int(np.prod(weight) * voxels)
    return total


def _matrix_product(side: int, threads: int):
    """Return a float32 matrix product in the same library, with the same threads."""
    from onnx import TensorProto, helper

    square = [side, side]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, square) for name in "ab"],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, square)],
    )
    session = bare_session(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), threads
    )
    operands = {name: np.random.default_rng(0).standard_normal(square).astype(np.float32) for name in "ab"}
    return lambda: session.run(None, operands)
