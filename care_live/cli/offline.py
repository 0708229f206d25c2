"""Commands that need no microscope: verify a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from care_live.store import VerifyReport


@click.command("verify")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify_command(run: Path, as_json: bool) -> None:
    """Check every checksum of RUN against its journal; exit 1 where something is wrong."""
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


def _print_json(report: VerifyReport) -> None:
    import dataclasses
    import json

    click.echo(json.dumps({**dataclasses.asdict(report), "run": str(report.run), "clean": report.clean}))


def _print_table(report: VerifyReport) -> None:
    for problem in report.problems:
        click.echo(f"{problem.kind:<9} {problem.where:<40} {problem.detail}")
    verdict = "clean" if report.clean else f"{len(report.problems)} problems"
    writing = ", still being written" if report.being_written else ""
    click.echo(f"{report.run}: {report.n_volumes} volumes, {report.n_bytes / 1e6:.1f} MB{writing}: {verdict}")
