"""Do watchers disturb? The same acquisition without watchers, and with a full house, in turn.

The house: 20 browsers (WebSockets to the gateway), 4 full subscribers (two of the newest, two of every volume), one
viewer four times too slow, one frozen for most of the run, one that comes late. A real daemon acquires from the
virtual microscope through pycromanager, restores, publishes and stores.

acquisition_p99_ratio: p99 of the time between two planes of a stack, with watchers over without. Each stored
volume has its longest such time; of n intervals the longest lies below x with probability F(x)^n, so the p99 is the
0.99^n quantile of the longest ones.
raw_lost: planned planes that no run has stored.
slow_viewer_age_ratio: p95 of the age (from the last plane) of what the slow viewer gets, over the time it takes
for one.
memory_volumes_per_viewer: how much more memory the daemon took at most, in volumes a viewer.
browser_latency_ms_p95: from a volume's publication to its picture in a browser's socket.

A pair takes about four minutes on two cores. No pair is begun that would end after --minutes, a run that does not end
is stopped, and the figures come in every case: pairs says how many are behind them, null is what was not measured.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from benches._audience import Seen
from benches._daemon import free_port, sampled, settings, started, wait_for_end
from benches._house import House, period_s, wait_for_first
from benches._pairs import say
from care_live.errors import CareLiveError
from care_live.store import RunReader

N_VOXEL_BYTES = 2 + 4 + 4
"""raw, mean and scale."""


@dataclass(frozen=True)
class Outcome:
    """One run."""

    longest_gaps_ms: list[float]
    n_planes_planned: int
    n_planes_stored: int
    n_intervals: int
    n_restored: int
    peak_bytes: int
    cpu_s: float
    seen: dict[str, list[Seen]]


@dataclass(frozen=True)
class Pair:
    """The same acquisition twice."""

    alone: Outcome
    watched: Outcome


def measure(arguments: list[str]) -> dict[str, float | None]:
    asked, pairs, begun_s = parse(arguments), [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="watchers-", ignore_cleanup_errors=True) as folder:
        for n in range(asked.pairs):
            if n and (n + 1) / n * (time.monotonic() - begun_s) > 60 * asked.minutes:
                say(f"no time for pair {n + 1} within {asked.minutes:g} min")
                break
            if (one := pair(Path(folder) / str(n), asked, f"pair {n + 1} of {asked.pairs}")) is not None:
                pairs.append(one)
    return figures(pairs, asked)


def pair(folder: Path, asked: argparse.Namespace, name: str) -> Pair | None:
    """Return the same acquisition without watchers and with a full house, or None: one of them failed."""
    try:
        alone = run(folder / "quiet", asked, f"{name}, without watchers")
        watched = run(folder / "watched", asked, f"{name}, full house", full_house=True)
    except (CareLiveError, RuntimeError, OSError, subprocess.SubprocessError, psutil.Error) as error:
        say(f"{name} failed: {error}")
        return None
    say(f"{name}: p99 between planes {interval_p99_ms(alone):.1f} ms alone, {interval_p99_ms(watched):.1f} ms watched")
    return Pair(alone, watched)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="watchers", description=__doc__)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=8.0, help="no pair is begun that would end later")
    parser.add_argument("--volumes", type=int, default=42, help="time points of each run; 42 leave one frozen for 60 s")
    parser.add_argument("--planes", type=int, default=32)
    parser.add_argument("--field", type=int, default=128, help="pixels along y and x")
    parser.add_argument("--interval-s", type=float, default=1.6, help="between time points")
    parser.add_argument("--rate-hz", type=float, default=40.0, help="planes a second within a stack")
    parser.add_argument("--browsers", type=int, default=20)
    parser.add_argument("--model", type=Path, help="ONNX file; default: the shipped one")
    return parser.parse_args(arguments)


# -- one run ----------------------------------------------------------------------------------------------------


def run(folder: Path, asked: argparse.Namespace, name: str, *, full_house: bool = False) -> Outcome:
    folder.mkdir(parents=True)
    pull, status = (free_port() for _ in range(2))
    address, config = f"tcp://127.0.0.1:{pull}", folder / "run.toml"
    config.write_text(settings(folder, asked, address, status), encoding="utf-8")
    seen: dict[str, list[Seen]] = {}
    with contextlib.ExitStack() as closing:
        planned_s = asked.volumes * period_s(asked)
        say(f"{name}: {'seating everybody, then ' if full_house else ''}{planned_s:.0f} s of volumes")
        house = closing.enter_context(House.filled(folder, asked, address, seen)) if full_house else None
        daemon = closing.enter_context(started(folder, config))
        used = closing.enter_context(sampled(daemon))
        wait_for_first(address, daemon)
        if house is not None:
            house.begin(asked)
        wait_for_end(daemon, status, asked, name)
    return outcome(RunReader(folder / "runs" / "bench"), used, seen)


# -- figures ----------------------------------------------------------------------------------------------------


def outcome(reader: RunReader, used: dict[str, float], seen: dict[str, list[Seen]]) -> Outcome:
    volumes = [reader.read_raw(key) for key in reader.keys("raw")]
    return Outcome(
        longest_gaps_ms=[volume.integrity.worst_gap_ms for volume in volumes],
        n_planes_planned=reader.plan.n_planes,
        n_planes_stored=sum(len(volume.integrity.received) for volume in volumes),
        n_intervals=max(len(volume.integrity.received) for volume in volumes) - 1,
        n_restored=len(reader.keys("restored")),
        peak_bytes=int(used["peak_bytes"]),
        cpu_s=used["cpu_s"],
        seen=seen,
    )


def interval_p99_ms(one: Outcome) -> float:
    return float(np.quantile(one.longest_gaps_ms, 0.99**one.n_intervals))


def figures(pairs: list[Pair], asked: argparse.Namespace) -> dict[str, float | None]:
    volume_bytes = asked.planes * asked.field**2 * N_VOXEL_BYTES
    n_viewers, n_full = asked.browsers + 8, 9
    ratios = [interval_p99_ms(one.watched) / interval_p99_ms(one.alone) for one in pairs]
    grown = [(one.watched.peak_bytes - one.alone.peak_bytes) / volume_bytes / n_viewers for one in pairs]
    cpu_ms = [1e3 * (p.watched.cpu_s - p.alone.cpu_s) / max(1, p.watched.n_restored) / n_full for p in pairs]
    watched = [one.watched for one in pairs]
    lost = [one.n_planes_planned - one.n_planes_stored for two in pairs for one in (two.alone, two.watched)]
    return {
        "acquisition_p99_ratio": percentile(ratios, 50),
        "raw_lost": float(sum(lost)) if pairs else None,
        "memory_volumes_per_viewer": percentile([max(0.0, volumes) for volumes in grown], 50),
        "cpu_ms_per_volume_per_subscriber": percentile(cpu_ms, 50),
        **seen_by_watchers(watched, asked),
        "volumes": float(asked.volumes),
        "pairs": float(len(pairs)),
    }


def seen_by_watchers(runs: list[Outcome], asked: argparse.Namespace) -> dict[str, float | None]:
    def role(name: str) -> list[Seen]:
        return [seen for one in runs for seen in one.seen.get(name, [])]

    slow = [age_s for seen in role("slow") for age_s in ages_while_on(seen, asked.volumes)]
    latencies = [latency for one in runs for latency in browser_latencies_ms(one.seen)]
    run_s = len(runs) * asked.volumes * period_s(asked)
    nbytes = sum(seen.nbytes for one in runs for people in one.seen.values() for seen in people)
    n_pictures = sum(len(seen.times) for seen in role("browsers"))
    slow_age_s = percentile(slow, 95)
    return {
        "slow_viewer_age_ratio": slow_age_s / (4 * period_s(asked)) if slow_age_s is not None else None,
        "browser_latency_ms_p95": percentile(latencies, 95),
        "browser_latency_ms_p50": percentile(latencies, 50),
        "mb_per_s": nbytes / 1e6 / run_s if runs else None,
        "recorder_lost": float(sum(seen.n_lost for seen in role("every"))) if runs else None,
        "late_joiner_s": percentile([first_s(seen) for seen in role("late") if seen.arrived_us], 50),
        "pictures_per_browser": n_pictures / (len(runs) * asked.browsers) if runs else None,
    }


def browser_latencies_ms(seen: dict[str, list[Seen]]) -> list[float]:
    """Compare when a picture came with when its volume was published, as the fastest subscriber got it."""
    published: dict[int, int] = {}
    for one in [*seen.get("newest", []), *seen.get("every", [])]:
        for t, at in zip(one.times, one.published_us, strict=True):
            published[t] = min(at, published.get(t, at))
    latencies: list[float] = []
    for one in seen.get("browsers", []):
        newest = [(at - published[t]) / 1e3 for t, at in zip(one.times, one.arrived_us, strict=True) if t in published]
        latencies += newest
    return latencies


def ages_while_on(seen: Seen, n_volumes: int) -> list[float]:
    """Leave out the last volume: when the run is over, what is newest grows old."""
    return [age_s for t, age_s in zip(seen.times, seen.ages_s, strict=True) if t < n_volumes - 1]


def first_s(seen: Seen) -> float:
    """Return how long after its connection the first picture came, to somebody to whom one came."""
    return seen.arrived_us[0] / 1e6 - seen.began_s


def percentile(numbers: list[float], q: float) -> float | None:
    return float(np.percentile(numbers, q)) if numbers else None
