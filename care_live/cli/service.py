"""``care-live service``: let the system start the daemon and start it again: systemd, launchd, or Windows."""

from __future__ import annotations

from pathlib import Path

import click

from care_live.cli import options

_name = click.option(
    "--unit", "name", default="care-live", show_default=True, help="Name of the service; each daemon has one."
)
_system = click.option(
    "--system", is_flag=True, help="A service of the machine, as root, as always on Windows; default: your own."
)


@click.group("service")
def service_command() -> None:
    """Let the system start the daemon: systemd, launchd, or Windows."""


@service_command.command("install")
@click.argument("config", type=options.FILE)
@_name
@_system
def install_command(config: Path, name: str, system: bool) -> None:
    """Make a service that runs CONFIG, start it now and at each login or boot.

    On Linux a unit of systemd (Type=notify): your own starts at boot, too, after: loginctl enable-linger; journalctl
    shows its log. On macOS a job of launchd. On Windows a service, from a terminal with administrator rights: it drains
    when it is stopped, and before a shutdown.
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
