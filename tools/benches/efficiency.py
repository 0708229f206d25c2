"""Useful floating-point operations a second, over what a matrix product reaches on this machine in the same minute.

Useful are the operations of the network as published (a 3D convolution counts 27 products), whatever the
rewritten graph does in fact; so a figure above 1 is possible. Times are CPU seconds, which other processes
disturb least.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

from benches._pairs import alternate, bare_session, counts, say
from care_live.model.unet_graph import UNet, build, convolution_shapes, seeded_weights
from care_live.restore.session import Options
from care_live.restore.streaming.whole import open_session

ENDS = {"low": np.array([100], np.float32), "high": np.array([3000], np.float32)}
_SIDE = 2048


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="efficiency", description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(16, 192, 192), metavar=("Z", "Y", "X"))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args(arguments)
    unet = UNet()
    model = build(unet, seeded_weights(unet))
    raw = counts((1, 1, *asked.shape))
    shapes = {"raw": raw.shape, "low": (1,), "high": (1,)}
    ours = open_session(model.SerializeToString(), shapes, Options(threads=asked.threads))
    bare, product = bare_session(model, asked.threads), _matrix_product(asked.threads)
    feeds = {"raw": raw, **ENDS}
    spent = alternate(asked.pairs, lambda: ours.run(feeds), lambda: bare.run(None, feeds), product)
    useful, peak = 2 * products(unet, asked.shape), 2 * _SIDE**3
    exact, as_exported = (
        statistics.median(
            (useful / mine.cpu_s) / (peak / best.cpu_s) for mine, best in zip(times, spent[2], strict=True)
        )
        for times in spent[:2]
    )
    peak_gflops = asked.threads * peak / min(best.cpu_s for best in spent[2]) / 1e9
    say(f"matrix product {peak_gflops:.0f} GFLOP/s; network {useful / np.prod(asked.shape):.0f} FLOP a voxel")
    return {"exact_over_peak": exact, "ort_over_peak": as_exported, "peak_gflops": peak_gflops}


def products(unet: UNet, shape: tuple[int, int, int]) -> int:
    """Return the multiplications of the network as published."""
    total = 0
    for name, weight in convolution_shapes(unet):
        level = unet.depth if name.startswith("bottom") else int("".join(filter(str.isdigit, name.split("_")[0])) or 0)
        voxels = np.prod([n // factor**level for n, factor in zip(shape, unet.pool, strict=True)])
        total += int(np.prod(weight) * voxels)
    return total


def _matrix_product(threads: int):
    """Return a float32 matrix product in the same library, with the same threads."""
    from onnx import TensorProto, helper

    square = [_SIDE, _SIDE]
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
