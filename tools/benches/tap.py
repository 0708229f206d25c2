"""What the tap costs the acquisition: time per frame, frame rate with it over frame rate without it, planes lost.

pycromanager's engine runs hardware-sequenced stacks on a demo camera (``FastImage``, so that it is not its own
picture synthesis that is measured), alternately with a processor that does nothing and with the tap. The daemon
is another process on the same machine: link, assemble and store of every raw plane, with the restorer stopped.
``rate_ratio_*`` is at the pace of a fast camera (`PACE`), ``rate_ratio_flat_*`` is as fast as the engine can at all,
where engine, tap and daemon compete for the same processors. ``tap_cpu_us_*`` is the processor time of the call,
which other programs disturb less than ``tap_us_*``, the wall time. ``store_cpu_ms_*`` is the processor time that the
daemon's process uses per plane while it stores; ``flat_2048`` has a row for each ``store.codec``, the first is *auto*.
``cpu_ms_*`` is all that a plane costs more than the bare acquisition, in both processes, until it is stored.

Beside these, ``flat_2048`` has rows of others that take the same planes in the acquisition's own process: *memory* only
keeps them, which is the limit; *plain_file* writes the bytes as they are and syncs each stack; *acquire_zarr* and
*ome_writers* (``pip install 'care-live[bench]'``, or ``--writers FOLDER`` that ``pip install --target FOLDER`` has
made) sync nothing. Medians over the pairs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing as mp
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from care_live.assemble import Assembler
from care_live.config import AssembleConfig, RemoteConfig, StoreConfig
from care_live.freed_memory import keep_freed_memory
from care_live.images import RunEnded, RunStarted, Volume
from care_live.source.remote import Remote
from care_live.store import RunReader, open_run

Codec = Literal["auto", "zstd", "lz4", "none"]
CODECS: tuple[Codec, ...] = ("auto", "zstd", "lz4", "none")

START = (sys.executable, "-X", "faulthandler", str(Path(__file__).with_name("_tap_microscope.py")))
WRITERS = ("memory", "plain_file", "acquire_zarr", "ome_writers")


class Pace(NamedTuple):
    """One kind of acquisition."""

    size_px: int
    n_time_points: int
    n_planes: int
    exposure_ms: float


PACE = {"512": Pace(512, 8, 32, 10.0), "2048": Pace(2048, 4, 16, 50.0)}
FLAT = {"flat_512": Pace(512, 16, 32, 0.1), "flat_2048": Pace(2048, 4, 16, 0.1)}


def receive(connection: Any, n_runs: int, codec: Codec) -> None:
    """The daemon's side, in a process of its own: store every raw plane; report how many came and were stored."""
    keep_freed_memory()
    remote = Remote(RemoteConfig(bind="tcp://127.0.0.1:0"), run_id="run-0")
    address = remote.address
    connection.send(address)
    for number in range(n_runs):
        with tempfile.TemporaryDirectory() as folder:
            connection.send(store(remote, Path(folder), codec))
        remote.close()
        if number + 1 < n_runs:
            remote = Remote(RemoteConfig(bind=address), run_id=f"run-{number + 1}")
        connection.send("ready")


def store(remote: Remote, folder: Path, codec: Codec) -> dict[str, float]:
    """Take one run to disk, as the daemon does with its restorer stopped."""
    config, cpu_s, all_s = StoreConfig(directory=folder, codec=codec), 0.0, time.process_time()
    assembler = Assembler(AssembleConfig(), admit=lambda n_bytes: True)
    writer, n_planned, ended = None, 0, None
    while not isinstance(ended, RunEnded):
        ended = remote.next_event(0.5)
        if ended is None:
            continue
        if isinstance(ended, RunStarted):
            writer, n_planned = open_run(config, ended), ended.plan.n_planes
        for event in assembler.take(ended):
            if isinstance(event, Volume) and writer is not None:
                began_s = time.process_time()
                writer.write_raw(event)
                cpu_s += time.process_time() - began_s
    assert writer is not None
    writer.close()
    all_s = time.process_time() - all_s
    reader = RunReader(writer.path)
    n_stored = sum(len(reader.read_raw(key).integrity.received) for key in reader.keys("raw"))
    remote.next_event(0.5)  # the tap may still ask whether its last message came
    per_plane = 1000 / max(1, n_stored)
    cpu = {"store_cpu_ms": cpu_s * per_plane, "process_cpu_ms": all_s * per_plane}
    return {"planned": n_planned, "stored": n_stored, "refused": ended.n_refused, **cpu}


def runs(pace: Pace, n_pairs: int, codec: Codec) -> Iterator[dict[str, float]]:
    """Run alternating pairs; yield the microscope's and the daemon's figures."""
    here, there = mp.get_context("spawn").Pipe()
    daemon = mp.get_context("spawn").Process(target=receive, args=(there, n_pairs, codec))
    daemon.start()
    command = [*START, *map(str, (*pace, n_pairs)), here.recv()]
    microscope = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert microscope.stdin and microscope.stdout
        for _ in range(n_pairs):
            yield _next_figures(microscope)
            microscope.stdin.write("\n")
            microscope.stdin.flush()
            yield _next_figures(microscope)
            yield here.recv()
            here.recv()
    finally:
        microscope.kill()
        microscope.communicate()
        daemon.terminate()
        daemon.join()


def runs_of(writer: str, pace: Pace, n_pairs: int, where: Path | None) -> list[dict[str, float]]:
    """Run alternating pairs with another writer; return the microscope's figures."""
    command = [*START, *map(str, (*pace, n_pairs)), writer, *([str(where)] if where else [])]
    microscope = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        return [_next_figures(microscope) for _ in range(2 * n_pairs)]
    finally:
        microscope.kill()
        microscope.communicate()


def is_installed(writer: str, where: Path | None) -> bool:
    here = writer in WRITERS[:2] or importlib.util.find_spec(writer) is not None
    return here or (where is not None and (where / writer).is_dir())


def _next_figures(microscope: subprocess.Popen[str]) -> dict[str, float]:
    """Return the next line of figures, past whatever pycromanager prints."""
    assert microscope.stdout
    for line in microscope.stdout:
        if line.startswith('{"tap"'):
            figures: dict[str, float] = json.loads(line)
            return figures
    said = microscope.stderr.read()[-2000:] if microscope.stderr else ""
    raise SystemExit(f"the microscope ended with exit code {microscope.wait()}: {said}")


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="bench.py tap", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", choices=[*PACE, *FLAT])
    parser.add_argument("--writers", type=Path, help="Folder with acquire-zarr and ome-writers.")
    options = parser.parse_args(arguments)
    figures: dict[str, float] = {"lost": 0.0, "pairs": float(options.pairs)}
    for name, pace in {**PACE, **FLAT}.items():
        for codec in CODECS if name == "flat_2048" else CODECS[:1]:
            if options.only in (None, name):
                row = name if codec == CODECS[0] else f"{name}_{codec}"
                figures |= _of_one(row, list(runs(pace, options.pairs, codec)), figures)
    if options.only in (None, "flat_2048"):
        for writer in WRITERS:
            if is_installed(writer, options.writers):
                figures |= _of_writer(writer, runs_of(writer, FLAT["flat_2048"], options.pairs, options.writers))
            else:
                print(f"{writer}: not installed: pip install {writer.replace('_', '-')}", file=sys.stderr)
    return figures


def _of_writer(writer: str, runs: list[dict[str, float]]) -> dict[str, float]:
    without, stored = runs[0::2], runs[1::2]
    name = f"flat_2048_{writer}"
    return {
        f"rate_ratio_{name}": _median_ratio(stored, without),
        f"cpu_ms_{name}": statistics.median(
            mine["process_cpu_ms"] - bare["process_cpu_ms"] for bare, mine in zip(without, stored, strict=True)
        ),
        f"frames_per_s_{name}": statistics.median(run["frames_per_s"] for run in stored),
    }


def _median_ratio(tapped: list[dict[str, float]], without: list[dict[str, float]]) -> float:
    return statistics.median(
        mine["frames_per_s"] / bare["frames_per_s"] for bare, mine in zip(without, tapped, strict=True)
    )


def _of_one(name: str, runs: list[dict[str, float]], figures: dict[str, float]) -> dict[str, float]:
    without, tapped, stored = runs[0::3], runs[1::3], runs[2::3]
    lost = sum(run["planned"] - run["stored"] for run in stored)
    paced = not name.startswith("flat")
    counted = {"lost": figures["lost"] + lost} if paced else {f"lost_{name}": lost}
    return {
        f"tap_us_p50_{name}": statistics.median(run["us_p50"] for run in tapped),
        f"tap_us_p99_{name}": statistics.median(run["us_p99"] for run in tapped),
        f"tap_cpu_us_p50_{name}": statistics.median(run["cpu_us_p50"] for run in tapped),
        f"rate_ratio_{name}": _median_ratio(tapped, without),
        f"cpu_ms_{name}": statistics.median(
            mine["process_cpu_ms"] + store["process_cpu_ms"] - bare["process_cpu_ms"]
            for bare, mine, store in zip(without, tapped, stored, strict=True)
        ),
        f"frames_per_s_bare_{name}": statistics.median(run["frames_per_s"] for run in without),
        f"store_cpu_ms_{name}": statistics.median(run["store_cpu_ms"] for run in stored),
        f"frames_per_s_{name}": statistics.median(run["frames_per_s"] for run in tapped),
        f"cpu_ms_bare_{name}": statistics.median(run["process_cpu_ms"] for run in without),
        **counted,
    }
