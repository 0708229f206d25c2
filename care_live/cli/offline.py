"""Commands that need no microscope: restore a data set, verify a run."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from care_live.cli import options
from care_live.wire.printable import printable

if TYPE_CHECKING:
    from care_live.images import Restored
    from care_live.store import VerifyReport


@click.command("restore")
@click.argument("source", metavar="IN", type=options.FILE)
@click.argument("target", metavar="OUT", type=options.FILE)
@options.model
@options.axes
@click.option(
    "--provider",
    type=click.Choice(["auto", "cuda", "tensorrt", "cpu", "openvino"]),
    default="auto",
    show_default=True,
    help="What runs the network.",
)
@options.threads
@click.option("--tile", type=click.IntRange(1), nargs=3, help="Largest tile z y x in pixels, with its halo.")
@click.option(
    "--normalise",
    type=click.Choice(["locked-after-k", "ema", "per-volume"]),
    default="locked-after-k",
    show_default=True,
    help="How the range follows a time-lapse; locked after three volumes, it no longer flickers.",
)
@click.option("--range", "counts", type=float, nargs=2, help="Fixed range: the camera counts that become 0 and 1.")
@click.option("--fast", is_flag=True, help="Compute with reduced precision, flagged in the result.")
@click.option(
    "--quantised", is_flag=True, help="Fetch results from a GPU as codes of 3 bytes per voxel, for slow links."
)
def restore_command(
    source: Path,
    target: Path,
    model: Path | None,
    axes: str | None,
    provider: str,
    threads: int,
    tile: tuple[int, int, int] | None,
    normalise: str,
    counts: tuple[float, float] | None,
    fast: bool,
    quantised: bool,
) -> None:
    """Restore the TIFF, OME-TIFF, NDTiff or OME-Zarr data set IN with a network.

    OUT becomes an OME-TIFF when its name ends with .tif, else an OME-Zarr with raw and restored volumes.
    """
    from rich.progress import Progress

    from care_live.cli import restoring
    from care_live.config import RestoreConfig
    from care_live.model import file
    from care_live.recorded import open_recording
    from care_live.restore.engine import Engine

    settings = {"provider": provider, "threads": threads, "fast_mode": fast, "streaming": "off"}
    settings |= {"quantised": quantised, "normalise": {"mode": normalise}}
    if counts:
        settings["normalise"] = {"mode": "fixed", "low_counts": counts[0], "high_counts": counts[1]}
    config = RestoreConfig.model_validate(settings | {"tile_px": tile or None})
    restoring.refuse_existing(target, source)
    recording = open_recording(source, axes=axes)
    flagged: Counter[str] = Counter()
    try:
        engine = Engine(model or file.shipped(), config)
        with Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("restoring", total=restoring.n_time_points(recording))
            run_id = restoring.run_id_of(source)

            def step(restored: Sequence[Restored]) -> None:
                flagged.update({flag for result in restored for flag in result.flags})
                bar.advance(task)

            restoring.restore_to(target, recording, engine, run_id=run_id, step=step)
    finally:
        recording.close()
    flags = "".join(f", {n} {flag}" for flag, n in sorted(flagged.items()))
    click.echo(
        f"{target}: {restoring.n_time_points(recording)} time points restored with {engine.identity.name}{flags}"
    )


@click.command("verify")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@options.as_json
def verify_command(run: Path, as_json: bool) -> None:
    """Check every checksum of RUN against its journal; exit with 1 where something is wrong."""
    from rich.progress import Progress

    from care_live.store import verify

    with Progress(transient=True, disable=as_json or not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading volumes", total=None)
        report = verify(run, progress=lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        _print_json(report)
    else:
        _print_table(report)
    if not report.clean:
        sys.exit(1)


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=options.FILE, help="The page; RUN-report.html beside the run's folder otherwise.")
def report_command(run: Path, out: Path | None) -> None:
    """Write one HTML page on RUN, which opens without a network: volumes, planes, ages, where to look twice."""
    from care_live.viewer import run_report

    target = out or run.with_name(f"{run.name}-report.html")
    click.echo(f"{run_report.write(run, target)}: written")


def _print_json(report: VerifyReport) -> None:
    import dataclasses
    import json

    click.echo(json.dumps({**dataclasses.asdict(report), "run": str(report.run), "clean": report.clean}))


def _print_table(report: VerifyReport) -> None:
    for problem in (*report.problems, *report.beside):
        click.echo(printable(f"{problem.kind:<9} {problem.where:<40} {problem.detail}"))
    verdict = "clean" if report.clean else f"{len(report.problems)} problems"
    writing = ", still being written" if report.being_written else ""
    n_aside = sum(one.kind == "quarantine" for one in report.beside)
    writing += f", {n_aside} raw files in quarantine" if n_aside else ""
    click.echo(f"{report.run}: {report.n_volumes} volumes, {report.n_bytes / 1e6:.1f} MB{writing}: {verdict}")
