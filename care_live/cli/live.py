"""``care-live run``, ``replay`` and ``demo``: volumes restored while they come."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from care_live.cli import logs, options
from care_live.errors import CareLiveError, ConfigError, IncompleteError

if TYPE_CHECKING:
    from care_live.config import Config
    from care_live.daemon.run import Daemon
    from care_live.daemon.run_metrics import DaemonStatus
    from care_live.daemon.web_process import Page

_PAGE_S = 40.0
"""How long the browser page may take to start, and to end."""


@click.command("run")
@click.argument("config", type=options.FILE)
@options.run_id
@options.resume
@options.page
@options.json_file
@options.leashed
@logs.verbosity
@logs.quiet
def run_command(
    config: Path,
    run_id: str | None,
    resume: bool,
    web: bool,
    json_file: Path | None,
    leashed: bool,
    verbose: int,
    quiet: bool,
) -> None:
    """Acquire, restore, publish and store, as CONFIG (TOML) says.

    Ctrl-C ends the acquisition and finishes what has come; a second Ctrl-C stops at once.

    Exit code 0: all that was planned is stored, or you stopped the run and all that came until then is stored.
    1: the run failed or is incomplete; the last line says why. 2: the config or the command line is invalid.
    """
    from care_live.config import load

    logs.configure(0 if quiet else verbose)
    _live(named(load(config), run_id, resume=resume), web=web, finish=_summary, json_file=json_file, leashed=leashed)


@click.command("replay")
@click.argument("path", type=options.FILE)
@options.axes
@click.option("--voxel-size-um", type=float, nargs=3, help="Voxel size z y x, where the file gives none.")
@click.option(
    "--speed", default="fastest", show_default=True, help="Speed: recorded, fastest, or a number of planes per second."
)
@click.option("--loops", default=1, show_default=True, help="How often the data set is played; 0: without end.")
@options.model
@options.directory
@options.run_id
@options.resume
@options.page
@options.json_file
@logs.verbosity
@logs.quiet
def replay_command(
    path: Path,
    axes: str | None,
    voxel_size_um: tuple[float, float, float] | None,
    speed: str,
    loops: int,
    model: Path | None,
    directory: Path,
    run_id: str | None,
    resume: bool,
    web: bool,
    json_file: Path | None,
    verbose: int,
    quiet: bool,
) -> None:
    """Restore the data set PATH (Micro-Manager, OME-TIFF, OME-Zarr, TIFF) as if it were being acquired."""
    from care_live.config import parse

    logs.configure(0 if quiet else verbose)
    source: dict[str, Any] = {"kind": "replay", "path": path, "axes": axes, "loops": loops}
    source["speed"] = speed if speed in ("recorded", "fastest") else _number(speed)
    source["voxel_size_um"] = voxel_size_um or None
    restore = {"model": model, "policy": "wait" if speed == "fastest" else "latest"}
    tree = {"source": source, "restore": restore, "store": {"directory": directory}}
    _live(
        named(parse(tree, origin="command line"), run_id, resume=resume), web=web, finish=_summary, json_file=json_file
    )


@click.command("demo")
@click.option("--volumes", type=click.IntRange(1), help="Number of volumes; default: 5 headless, else 200.")
@click.option("--headless", is_flag=True, help="Start no viewer; end after the last volume.")
@options.json_file
@click.option("--lie", is_flag=True, help="Put a false nucleus into one volume and erase one from another.")
@click.option("--picture", type=options.FILE, help="Draw raw | restored | uncertainty | truth to this PNG.")
@click.option("--config", "config_file", type=options.FILE, help="Config of another virtual microscope.")
@options.directory
@logs.verbosity
@logs.quiet
def demo_command(
    volumes: int | None,
    headless: bool,
    lie: bool,
    json_file: Path | None,
    picture: Path | None,
    config_file: Path | None,
    directory: Path,
    verbose: int,
    quiet: bool,
) -> None:
    """Record a swimming flatworm in low light on a virtual microscope, and watch it restored."""
    from care_live.config import load
    from care_live.daemon import demo

    logs.configure(0 if quiet else verbose)
    base = load(config_file) if config_file else None
    run_id = new_run_id("demo")
    config = named(demo.config(directory, volumes or (5 if headless else 200), base, lies=lie), run_id, resume=False)
    picture = picture or config.store.directory / run_id / "demo.png"

    def show(status: DaemonStatus) -> None:
        figures = demo.figures(config, run_id, status)
        demo.draw(config, run_id, picture)
        click.echo(json.dumps(figures, indent=2))
        click.echo(f"picture: {picture}")
        for line in demo.red_lights(config, run_id):
            click.echo(line)
        if json_file:
            _write_json(json_file, figures)

    _live(config, web=not headless, finish=show)


def new_run_id(kind: str) -> str:
    """Return a run's name made from the wall clock."""
    from datetime import datetime

    return f"{kind}-{datetime.now():%Y%m%d-%H%M%S}"


def named(config: Config, run_id: str | None, *, resume: bool) -> Config:
    """Return the settings with the run's name, from the command line, the file or the clock.

    Raises
    ------
    ConfigError
        The name is invalid: it would lead out of the store, or no message could carry it.
    """
    from care_live.store.claim import RUN_ID_RULE, is_run_id

    if run_id is not None and not is_run_id(run_id):
        raise ConfigError(f"--run-id {run_id[:80]!r} is invalid: wanted {RUN_ID_RULE}")
    run_id = run_id or config.run_id or new_run_id("run")
    return config.model_copy(update={"run_id": run_id, "resume": resume or config.resume})


def _live(
    config: Config,
    *,
    web: bool,
    finish: Callable[[DaemonStatus], None],
    json_file: Path | None = None,
    leashed: bool = False,
) -> None:
    """Run the daemon to its end, with or without the browser page; *leashed*: until standard input ends, at most."""
    from care_live.config import SHOW_LIVE
    from care_live.daemon.run import Daemon
    from care_live.daemon.signals import drained_by_signals, drained_by_stdin
    from care_live.daemon.web_process import Page
    from care_live.freed_memory import keep_freed_memory

    keep_freed_memory()
    run_id = config.run_id or new_run_id("run")
    daemon = Daemon(config, run_id)
    history = None if config.source.kind in SHOW_LIVE else config.store.directory / run_id
    page = Page(config.web, config.publish, history) if web else None
    with _ended_by_force(daemon), _shown(page) as show_page, drained_by_signals(daemon):
        if leashed:
            drained_by_stdin(daemon)
        try:
            status = daemon.run(on_start=show_page)
        except CareLiveError:
            if json_file and daemon.status().run_id:
                _write_json(json_file, daemon.status().as_json())
            raise
        if json_file:
            _write_json(json_file, status.as_json())
        finish(status)
        if status.shortfalls:
            raise IncompleteError(f"the run is incomplete: {'; '.join(status.shortfalls)}")


@contextlib.contextmanager
def _ended_by_force(daemon: Daemon) -> Iterator[None]:
    """End the process after the block even where a driver or a disk hangs in it: Python would wait for its thread."""
    code = 1
    try:
        yield
    except CareLiveError as error:
        if not daemon.hung:
            raise
        click.echo(f"care-live: {error}", err=True)
        code = error.exit_code
    except Exception:
        if not daemon.hung:
            raise
        traceback.print_exc()
    if daemon.hung:
        click.echo(f"care-live: the process ends although these parts hang: {', '.join(daemon.hung)}", err=True)
        sys.stdout.flush()
        os._exit(code)


@contextlib.contextmanager
def _shown(page: Page | None) -> Iterator[Callable[[object], None]]:
    """Start the browser page beside a run that has begun: the run neither waits for the page nor fails with it."""

    def show() -> None:
        try:
            if page is not None:
                click.echo(f"watch at {page.start()}")
        except (CareLiveError, OSError) as error:
            click.echo(f"care-live: {error}; the run goes on without it", err=True)

    starting = threading.Thread(target=show, name="care-live page start")
    try:
        yield lambda _: starting.start()
    finally:
        for _ in range(2):  # again, where it was only about to start
            if page is not None:
                page.stop()
            if starting.ident is not None:
                starting.join(_PAGE_S)


def _summary(status: DaemonStatus) -> None:
    try:
        _print_summary(status)
    except OSError:  # the terminal, or the reader of a pipe, is gone: the exit code still says how the run ended
        sys.stdout = None  # else Python flushes it, and ends with a code of its own


def _print_summary(status: DaemonStatus) -> None:
    click.echo(
        f"{status.received_planes} of {status.planned_planes} planes, {status.volumes} volumes, "
        f"{status.restored} restored, {status.skipped} skipped live, {status.lost_planes} planes lost, "
        f"{status.suspect} volumes suspect"
    )
    if status.shed:
        click.echo(
            f"{status.shed} restored volumes are not stored, as the disk was full or too slow, or the run was ended "
            "before; --resume restores them again"
        )
    if status.already_stored:
        click.echo(f"{status.already_stored} volumes were dropped, as this run had stored them before")
    if status.set_aside:
        click.echo(f"{status.set_aside} raw files of an interrupted run are in its quarantine; see care-live verify")


def _write_json(path: Path, figures: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"--speed {text}: wanted recorded, fastest or planes per second") from error
