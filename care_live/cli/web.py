"""``care-live web``: the command that serves the browser page."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from care_live.cli import options
from care_live.default_ports import PAGE, WATCHERS
from care_live.errors import ConfigError


@click.command("web")
@click.option("--connect", metavar="ADDRESS", help=f"The daemon's bind_pull, such as {WATCHERS}.")
@options.recorded_run
@click.option("--bind", metavar="HOST:PORT", help="Where the page is served; port 0 takes a free one.")
@click.option(
    "--token-file", type=options.FILE, help="File with the token that opens the page; required unless HOST is loopback."
)
@options.key
@options.server_key
@options.leashed
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
def web_command(
    connect: str | None,
    directory: Path | None,
    bind: str | None,
    token_file: Path | None,
    key: Path | None,
    server_key: str | None,
    leashed: bool,
    open_browser: bool,
) -> None:
    """Watch a running daemon, a recorded run, or both, in the browser.

    Without options it watches the daemon of this machine. It prints the address of the page on one line.
    """
    from care_live.viewer.web import access, server
    from care_live.wire.keys import read_client

    if directory is not None and not connect and not directory.is_dir():
        raise ConfigError(f"{directory} is not the directory of a run: name one below store.directory of the config")
    address = connect or (None if directory else WATCHERS)
    host, port = access.parse_bind(bind or PAGE)
    token = access.choose_token(host, token_file)
    with server.listen(host, port) as listener:
        page = server.url(listener, token)
        if warning := server.exposed(host):
            click.echo(f"care-live: {warning}", err=True)
        with server.following(address, directory, keys=read_client(key, server_key)) as index:
            say = partial(_say, page, open_browser)
            server.serve(index, listener, token, directory=directory, started=say, leashed=leashed)


def _say(page: str, open_browser: bool) -> None:
    click.echo(page)
    if open_browser:
        click.launch(page)
