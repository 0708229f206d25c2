"""``care-live service``: let the system start the daemon and start it again: systemd, launchd, or Windows."""

from __future__ import annotations

from pathlib import Path

import click

from care_live.cli import options

_name = click.option(
    "--unit", "name", default="care-live", show_default=True, help="Name of the service; each daemon has one."
)
_system = click.option(
    "--system", is_flag=True, help="Make a service of the machine, run as root (on Windows always); default: your own."
)


@click.group("service")
def service_command() -> None:
    """Let the system start the daemon: systemd, launchd, or Windows."""


@service_command.command("install", short_help="Make a service that runs CONFIG, and start it.")
@click.argument("config", type=options.FILE)
@_name
@_system
def install_command(config: Path, name: str, system: bool) -> None:
    """Make a service that runs CONFIG, start it now and at each login or boot.

    Where a service of that name runs, it drains, and starts again with CONFIG. On Windows remove it first.

    On Linux it is a unit of systemd (Type=notify). Your own starts when you log in; after `loginctl enable-linger` it
    starts at boot. journalctl shows its log. On macOS it is a job of launchd. On Windows give this command in a
    terminal with administrator rights. Before it stops, and before a shutdown, the service drains.
    """
    from care_live.daemon.service_install import install_service

    click.echo(install_service(name, config, system=system))


@service_command.command("remove")
@_name
@_system
def remove_command(name: str, system: bool) -> None:
    """Drain and stop the daemon, and take its service away."""
    from care_live.daemon.service_install import remove_service

    click.echo(remove_service(name, system=system))
