"""Time from the last plane to the finished volume, over one untiled run of the same network.

The default network (depth 2, 32 filters, z pooled) on the CPU, and those of `care-live train` with 16 filters: as it
makes them, and with `--look-ahead 4`. Their weights are random, as the time doesn't depend on them. The stream has done
what it could when the last plane comes, as it has in an acquisition that is slower than the network.
"""
# ruff: noqa: N999 - the name of the benchmark, as it is typed

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch

from benches._pairs import Spent, bare_session, compare, counts, say, timed, worst
from care_live.backends.session import Options
from care_live.model import rewrite
from care_live.model.card import ModelCard
from care_live.model.unet_graph import UNetShape, build, seeded_weights
from care_live.percentiles import Span
from care_live.planewise.plan import StreamPlan, plan_live
from care_live.planewise.stream import PlanSessions
from care_live.training.architecture import build as build_trained
from care_live.training.export import export_members
from care_live.training.recipe import Recipe

SPAN = Span(100.0, 3000.0)
ENDS = {"low": np.array([SPAN.low], np.float32), "high": np.array([SPAN.high], np.float32)}
CARD = ModelCard(name="default", divisor=(4, 4, 4), halo_px=(24, 24, 24), heads=("mean", "laplace_scale"))


class Measured(NamedTuple):
    """One network on stacks of one depth."""

    last: float
    """Time after the last plane, over one untiled run."""
    total: float
    difference: float
    """The largest, of the largest value."""
    last_s: float
    planes_ahead: int


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="last-plane", description=__doc__)
    parser.add_argument("--field", type=int, default=192, help="pixels along y and x")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--decoder", choices=["transpose", "resize"], default="transpose", help="as the file has it")
    asked = parser.parse_args(arguments)
    model = build(UNetShape(), seeded_weights(UNetShape()))
    if asked.decoder == "transpose":
        model = rewrite.transpose_decoder(model)
    short, long = (_measured(asked, n_planes, model, CARD, name=f"{asked.decoder} decoder") for n_planes in (32, 64))
    figures = {
        name: _measured(asked, 32, *_trained(planes), name=f"train, {name}")
        for name, planes in (("train", None), ("look_ahead_4", 4))
    }
    return {
        "ratio_32": short.last,
        "ratio_64": long.last,
        "stream_total_32": short.total,
        "stream_total_64": long.total,
        **{f"{name}_ratio_32": found.last for name, found in figures.items()},
        **{f"{name}_last_s": found.last_s for name, found in figures.items()},
        **{f"{name}_planes_ahead": float(found.planes_ahead) for name, found in figures.items()},
        "max_rel_diff": max(found.difference for found in (short, long, *figures.values())),
    }


def _trained(look_ahead: int | None) -> tuple[onnx.ModelProto, ModelCard]:
    """Return a network as `care-live train` exports it, before it has learnt anything."""
    torch.manual_seed(1)
    network = {"filters": 16} | ({} if look_ahead is None else {"look_ahead": look_ahead})
    data = {"kind": "pairs", "inputs": ["low"], "target": ["high"]}
    recipe = Recipe.model_validate({"name": "own", "network": network, "data": data})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.onnx"
        card = export_members([build_trained(recipe.network).eval()], recipe, path)
        return onnx.load(path), card


def _measured(
    asked: argparse.Namespace, n_planes: int, model: onnx.ModelProto, card: ModelCard, *, name: str
) -> Measured:
    """Return the time after the last plane and of the whole stream, over one untiled run, and the difference."""
    plan = plan_live(model, card, (asked.field, asked.field), n_planes)
    assert isinstance(plan, StreamPlan), plan
    sessions, session = PlanSessions(plan, Options(threads=asked.threads)), bare_session(model, asked.threads)
    raw = counts((1, 1, n_planes, asked.field, asked.field))
    into = {head: np.empty(raw.shape[1:], np.float32) for head in card.heads}
    whole: list[Spent] = []
    streamed: list[tuple[Spent, Spent]] = []
    for _ in range(asked.pairs + 1):
        whole.append(timed(lambda: session.run(None, {"raw": raw, **ENDS})))
        streamed.append(_stream(sessions, raw[0], into))
    last = compare([after for _, after in streamed[1:]], whole[1:])
    total = compare([_sum(before, after) for before, after in streamed[1:]], whole[1:])
    results = session.run(list(card.heads), {"raw": raw, **ENDS})
    difference = max(worst(into[head], result[0]) for head, result in zip(card.heads, results, strict=True))
    say(
        f"{n_planes} planes of {asked.field} px, {name}: after the last plane {last.wall:.3f} "
        f"(CPU {last.cpu:.3f}), whole stream {total.wall:.3f} (CPU {total.cpu:.3f}) of one untiled run; "
        f"difference {difference:.1e}; caches {plan.cache_bytes / 2**20:.0f} MiB, look-ahead {plan.lookahead} planes"
    )
    last_s = statistics.median(after.wall_s for _, after in streamed[1:])
    return Measured(last.wall, total.wall, difference, last_s, plan.lookahead)


def _stream(sessions: PlanSessions, raw: np.ndarray, into: dict[str, np.ndarray]) -> tuple[Spent, Spent]:
    """Return what all planes but the last took, and the last one."""
    stream = sessions.begin([SPAN], into)
    planes = raw.swapaxes(0, 1)
    before = timed(lambda: stream.push(planes[:-1]))
    after = timed(lambda: stream.push(planes[-1:]))
    stream.finish()
    return before, after


def _sum(one: Spent, other: Spent) -> Spent:
    return Spent(one.wall_s + other.wall_s, one.cpu_s + other.cpu_s)
