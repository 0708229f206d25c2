"""``care-live status``, ``swap`` and ``doctor``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from care_live.cli import options
from care_live.errors import CareLiveError, ConfigError
from care_live.wire.printable import printable

_LOOK_S = 0.5
WAIT_S = 300
"""How long a swap may take: the next volumes of its channel must come, and be restored by both networks."""


@click.command("status")
@options.status_address
@options.as_json
def status_command(address: str, as_json: bool) -> None:
    """Show what a running daemon is doing."""
    status = status_of(address)
    if as_json:
        click.echo(json.dumps(status))
        return
    networks, workers = status.pop("networks", []), status.pop("workers", [])
    for name, value in status.items():
        if value not in (None, "", {}, [], 0):
            click.echo(f"{name.replace('_', ' '):>20}  {value:.1f}" if isinstance(value, float) else _line(name, value))
    for network in networks:
        said = {"channels": ", ".join(network.pop("channels")) or "all", "model": network.pop("network")} | network
        click.echo(_line("network", "  ".join(f"{k} {v}" for k, v in said.items())))
    for worker in workers:
        click.echo(_line(f"worker {worker.pop('worker')}", "  ".join(f"{k} {v}" for k, v in worker.items())))


def status_of(address: str) -> dict[str, Any]:
    """Return what a daemon is doing.

    Raises
    ------
    CareLiveError
        No daemon answers.
    """
    import urllib.error

    from care_live.daemon.status_request import open_status

    try:
        with open_status(f"http://{address}/status", 5) as answer:
            status: dict[str, Any] = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise CareLiveError(_no_answer(address, error)) from error
    return status


def _no_answer(address: str, error: Exception) -> str:
    why = getattr(error, "reason", error)  # without urllib's own words around it
    return f"no daemon answers at {address} ({why}): is one running, and is this its status_bind?"


def _line(name: str, value: object) -> str:
    return printable(f"{name.replace('_', ' '):>20}  {value}")


@click.command("doctor")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@options.as_json
def doctor_command(config: Path | None, as_json: bool) -> None:
    """Check this machine, and CONFIG if given; say what to do."""
    from care_live.config import Config, load
    from care_live.daemon.doctor import examine

    findings = []
    for finding in examine(load(config) if config else Config()):
        findings.append(finding)
        if not as_json:
            mark, colour = {"good": ("ok  ", "green"), "note": ("note", "yellow"), "bad": ("BAD ", "red")}[
                finding.verdict
            ]
            click.echo(f"{click.style(mark, fg=colour)} {finding.check:<22} {finding.seen}")
            if finding.advice:
                click.echo(f"{'':27} → {finding.advice}")
    if as_json:
        click.echo(json.dumps([{name: getattr(f, name) for name in f.__slots__} for f in findings], indent=2))
    n_bad = sum(finding.verdict == "bad" for finding in findings)
    if n_bad:
        raise CareLiveError(f"{n_bad} of {len(findings)} checks are bad; see above")


@click.command("swap")
@click.argument("model", required=False, type=click.Path(path_type=Path))
@options.channel
@click.option(
    "--rollback", is_flag=True, help="Go back to the network before the last swap, or give up the one on trial."
)
@click.option("--even-if-slow", is_flag=True, help="Take a network that is too slow for the acquisition, too.")
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(0),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the outcome; 0: only give the order.",
)
@options.status_address
def swap_command(
    model: Path | None, channel: str, rollback: bool, even_if_slow: bool, wait_s: int, address: str
) -> None:
    """Give a running daemon the network MODEL, once it has tried MODEL and compared it with the present one.

    Exit code 0: MODEL has taken over; with --wait 0: the daemon has the order. 1: the daemon refused it, or has not
    decided yet. 2: MODEL or its channel is not there. The last line says why.
    """
    from care_live.model.file import located

    if (model is None) == (not rollback):
        raise ConfigError("swap needs either a MODEL or --rollback")
    if rollback and channel:
        raise ConfigError("--rollback undoes the last swap, of whichever channel it was: leave --channel out")
    wanted: dict[str, object] = {}
    if model is not None:
        wanted = {"model": str(located(model).resolve()), "channel": channel, "even_if_slow": even_if_slow}
    click.echo(ask(address, "/rollback" if rollback else "/swap", wanted))
    if wanted and wait_s:
        click.echo(outcome_of_swap(address, wait_s))


def outcome_of_swap(address: str, wait_s: float) -> str:
    """Wait until a network that was ordered has taken over; return that in words.

    Raises
    ------
    CareLiveError
        The daemon refused the network, or took it back; nothing is decided in time; or the daemon has ended.
    """
    until_s = time.monotonic() + wait_s
    while True:
        status = status_of(address)
        state = printable(str(status.get("swap", "")))
        if state.startswith("took over"):
            return state
        if state.startswith(("refused", "rolled back")):
            raise CareLiveError(f"the run goes on with {printable(str(status.get('model')))}: {state}")
        if time.monotonic() > until_s:
            raise CareLiveError(
                f"nothing is decided after {wait_s:g} s ({state}): a network is tried on the next volumes of its "
                "channel; care-live status shows what becomes of it, care-live swap --rollback gives it up"
            )
        time.sleep(min(_LOOK_S, wait_s))


def ask(address: str, path: str, order: Mapping[str, object]) -> str:
    """Post an order to a daemon; return its answer.

    Raises
    ------
    ConfigError
        The order itself is invalid.
    CareLiveError
        The daemon can't obey it now, or none answers.
    """
    import urllib.error
    import urllib.request

    from care_live.daemon.status_request import open_status

    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{address}{path}", json.dumps(order).encode(), headers)
    try:
        with open_status(request, 10) as answer:
            text: str = answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            refused = ConfigError if error.code == 400 else CareLiveError
            raise refused(error.read().decode(errors="replace").strip()) from error
    except (urllib.error.URLError, OSError) as error:
        raise CareLiveError(_no_answer(address, error)) from error
    return printable(text)
