"""Commands that need no microscope: restore a data set, verify a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from care_live.cli import options
from care_live.wire.printable import printable

if TYPE_CHECKING:
    from care_live.model.card import ModelCard
    from care_live.offline import ByChannel, NetworkSettings
    from care_live.store import VerifyReport


@click.command("restore")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.argument("target", metavar="OUT")
@options.model
@click.option(
    "--channel",
    "channels",
    metavar="NAME=NETWORK",
    multiple=True,
    help="Network of a channel, again for each: GFP=a.onnx, R+G=joint.onnx, BF=none. Others pass through as they are.",
)
@click.option(
    "--config",
    type=options.FILE,
    help="Take the networks and the camera of this config: restore.model, [[restore.channel]], restore.camera.",
)
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
@click.option("--range", "counts", type=float, nargs=2, help="Fixed range: the pixel values that become 0 and 1.")
@click.option("--fast", is_flag=True, help="Compute with reduced precision, flagged in the result.")
@click.option(
    "--quantised", is_flag=True, help="Fetch results from a GPU as codes of 3 bytes per voxel, for slow links."
)
@click.option("--camera", type=options.FILE, help="Camera file of care-live camera, for the trust light.")
@click.option(
    "--raw/--no-raw", "keep_raw", default=True, help="Store the raw volumes beside the restored ones, or not."
)
@click.option(
    "--pyramid/--no-pyramid",
    default=True,
    help="Store coarser levels of large images for viewers, or not; a result goes on as it was begun.",
)
@click.option("--tiff", "as_tiff", is_flag=True, help="Write several results as OME-TIFFs.")
@click.option("--workers", type=click.IntRange(0), default=0, help="Processes on this machine to share the work.")
@click.option("--scheduler", help="Address of a Dask scheduler whose workers do the work, such as tcp://head:8786.")
@click.option("--scheduler-file", type=options.FILE, help="File in which a Dask scheduler wrote its address.")
@click.option("--dry-run", is_flag=True, help="Say what would be restored, how long it takes and how much disk.")
def restore_command(
    inputs: tuple[str, ...],
    target: str,
    model: Path | None,
    channels: tuple[str, ...],
    config: Path | None,
    axes: str | None,
    keep_raw: bool,
    as_tiff: bool,
    pyramid: bool,
    workers: int,
    scheduler: str | None,
    scheduler_file: Path | None,
    dry_run: bool,
    **chosen: Any,
) -> None:
    """Restore data sets with a network: TIFF, OME-TIFF, Micro-Manager, OME-Zarr, a run; folders of them, or patterns.

    Of one data set OUT becomes an OME-TIFF when its name ends with .tif, else an OME-Zarr with raw and restored
    volumes. Of several, OUT is the folder of their results. OUT may be an address, such as s3://bucket/restored: each
    result is made in a hidden folder here, and copied. Interrupted or killed, the same command goes on.
    """
    from care_live import offline

    named, settings = _networks(model, channels, config), _settings(**chosen)
    if config is not None and settings["camera"] is None:
        settings["camera"] = _camera_in(config)
    network = (
        offline.open_networks(named, **settings)
        if isinstance(named, Mapping)
        else offline.open_network(named, **settings)
    )
    plan = offline.plan_archive(inputs, target, axes=axes, keep_raw=keep_raw, as_tiff=as_tiff, pyramid=pyramid)
    if dry_run:
        found = offline.estimate(plan, network)
        _warn_of_doubtful(network.cards)
        for line in [*found.lines(), *plan.remarks]:
            click.echo(printable(line))
        if found.errors:
            sys.exit(1)
        return
    try:
        with offline.restorer_of(network, _workers(workers, scheduler, scheduler_file)) as restorer:
            report = offline.restore_archive(plan, network, restorer=restorer)
    except KeyboardInterrupt:
        click.echo("\ncare-live: interrupted; the same command goes on where it was", err=True)
        raise
    _warn_of_doubtful(network.cards)
    click.echo(printable(report.summary()))
    for remark in report.remarks:
        click.echo(printable(remark), err=True)
    for problem in report.problems:
        click.echo(f"care-live: {printable(problem)}", err=True)
    if report.problems:
        sys.exit(1)


def _networks(model: Path | None, channels: tuple[str, ...], config: Path | None) -> Path | ByChannel | None:
    """Return the network, or those of channels by name, that the command line or a config names."""
    if sum(map(bool, (model, channels, config))) > 1:
        raise click.UsageError("give one of --model, --channel and --config")
    if config is not None:
        return _networks_in(config)
    if not channels:
        return model
    named: dict[str | tuple[str, ...], str | Path | None] = {}
    for entry in channels:
        names, is_there, network = entry.partition("=")
        if not is_there or not names or not network:
            raise click.UsageError(f"--channel {entry}: wanted NAME=NETWORK, such as GFP=nuclei.onnx or BF=none")
        named[tuple(names.split("+"))] = None if network == "none" else network
    return named


def _networks_in(config: Path) -> Path | ByChannel | None:
    from care_live.config import load
    from care_live.model.file import located

    restore = load(config).restore
    if not restore.channel and not restore.channels:
        return restore.model
    return {network.channels: located(network.model) for network in restore.networks}


def _camera_in(config: Path) -> Path | None:
    from care_live.config import load

    return load(config).restore.camera


def _workers(workers: int, scheduler: str | None, scheduler_file: Path | None) -> int | str | Path:
    if sum(map(bool, (workers, scheduler, scheduler_file))) > 1:
        raise click.UsageError("give one of --workers, --scheduler and --scheduler-file")
    return scheduler_file or scheduler or workers


def _settings(
    provider: Any,
    threads: int,
    tile: tuple[int, int, int] | None,
    normalise: Any,
    counts: tuple[float, float] | None,
    fast: bool,
    quantised: bool,
    camera: Path | None,
) -> NetworkSettings:
    return {
        "provider": provider,
        "threads": threads,
        "tile_px": tile or None,
        "normalise": normalise,
        "counts": counts or None,
        "fast_mode": fast,
        "quantised": quantised,
        "camera": camera,
    }


def _warn_of_doubtful(cards: Sequence[ModelCard]) -> None:
    """Say which networks were not found clearly better than a filter; the card of a shipped one advises who made it."""
    from care_live.model.file import Shipped

    for card in cards:
        if (verdict := card.verdict) is None or not verdict.is_doubtful:
            continue
        own = "make a network of your own images: care-live train --from forms"
        says = f"{verdict.comparison()}: {own}" if card.name in get_args(Shipped) else verdict.sentence()
        click.echo(printable(f"{card.name} is {says}"), err=True)


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

    named = run if run.name.strip(".") else run.resolve()  # "." and ".." are no names
    target = out or named.with_name(f"{named.name}-report.html")
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
    click.echo(
        f"{report.run}: {report.n_volumes} volumes, maps counted too, {report.n_bytes / 1e6:.1f} MB{writing}: {verdict}"
    )
