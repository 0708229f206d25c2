"""``care-live keep`` and ``stage``: orders to a daemon that shows Live."""

from __future__ import annotations

from pathlib import Path

import click

from care_live.cli import options
from care_live.cli.health import ask


@click.command("keep")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="How many seconds; default: all in memory.")
@options.status_address
def keep_command(seconds: float | None, address: str) -> None:
    """Store the last seconds of Live as a run of their own, raw; care-live restore restores it.

    Live itself stores nothing. live.keep_s of the config says how many seconds are in memory.
    """
    click.echo(ask(address, "/keep", {} if seconds is None else {"seconds": seconds}))


@click.command("stage")
@click.option("--x", "x_um", type=float, help="Move the stage to this x, micrometres.")
@click.option("--y", "y_um", type=float, help="Move the stage to this y, micrometres.")
@click.option("--z", "z_um", type=float, help="Move the focus to this z, micrometres.")
@click.option("--by", "by_um", type=float, help="Move the focus by this, micrometres.")
@click.option("--exposure", "exposure_ms", type=float, help="Set the exposure, milliseconds.")
@click.option("--laser", type=float, help="Set the relative laser power; 1 is low light.")
@click.option("--live/--no-live", default=None, help="Start or stop Live.")
@click.option("--snap", is_flag=True, help="Stop Live and take one frame.")
@click.option("--acquire", type=options.FILE, help="Record this useq sequence as a run, then go on with Live.")
@options.status_address
def stage_command(address: str, acquire: Path | None, snap: bool, **order: float | bool | None) -> None:
    """Drive the virtual microscope of a daemon with source.kind = "live" and source.microscope."""
    from care_live.source.stage_orders import order_of

    wanted: dict[str, object] = {name: value for name, value in order.items() if value is not None}
    wanted |= {"snap": True} if snap else {}
    wanted |= {"acquire": _sequence(acquire)} if acquire else {}
    order_of(wanted)  # what is wrong with it is said without a daemon, too
    click.echo(ask(address, "/stage", wanted))


def _sequence(path: Path) -> dict[str, object]:
    from care_live.source.mda_sequence import read_sequence

    sequence: dict[str, object] = read_sequence(path).model_dump(mode="json", exclude_unset=True)
    return sequence
