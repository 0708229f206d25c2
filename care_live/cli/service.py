"""``care-live service``: let systemd start the daemon, watch it and start it again."""

from __future__ import annotations

from pathlib import Path

import click

from care_live.cli import options

_name = click.option(
    "--unit", "name", default="care-live", show_default=True, help="Name of the unit; each daemon has one."
)
_system = click.option("--system", is_flag=True, help="A service of the machine, as root; default: your own.")


@click.group("service")
def service_command() -> None:
    """Let systemd start the daemon with this machine."""


@service_command.command("install")
@click.argument("config", type=options.FILE)
@_name
@_system
def install_command(config: Path, name: str, system: bool) -> None:
    """Write a unit (Type=notify) that runs CONFIG, start it now and at each login or boot.

    Your own service starts at boot, too, after: loginctl enable-linger. journalctl shows its log.
    """
    from care_live.daemon.service_unit import SystemdService

    click.echo(SystemdService(name, system=system).install(config))


@service_command.command("remove")
@_name
@_system
def remove_command(name: str, system: bool) -> None:
    """Drain and stop the daemon, and take its unit away."""
    from care_live.daemon.service_unit import SystemdService

    click.echo(SystemdService(name, system=system).remove())
