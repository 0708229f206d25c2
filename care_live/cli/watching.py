"""``care-live view``, ``record`` and ``keys``: the other end of the link."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from care_live.cli import logs, options
from care_live.default_ports import MICROMANAGER, WATCHERS
from care_live.errors import SourceError
from care_live.wire.printable import printable

if TYPE_CHECKING:
    from care_live.viewer.recorded_run import RecordingReport
    from care_live.wire.guest import Role
    from care_live.wire.keys import ClientKeys

_DISK_WAIT_S = 3600.0
"""How long a full disk is waited for; the daemon keeps what was not recorded meanwhile."""


@click.command("view")
@click.argument("address", default=WATCHERS)
@click.option("--once", is_flag=True, help="Show the present state, and end.")
@options.as_json
@click.option("--napari", is_flag=True, help="Watch in napari, with images.")
@click.option("--micromanager", is_flag=True, help="Show restored stacks in the Micro-Manager of this machine.")
@click.option("--port", type=int, default=MICROMANAGER, show_default=True, help="Port of Micro-Manager's server.")
@options.recorded_run
@options.key
@options.server_key
def view_command(
    address: str,
    once: bool,
    as_json: bool,
    napari: bool,
    micromanager: bool,
    port: int,
    directory: Path | None,
    key: Path | None,
    server_key: str | None,
) -> None:
    """Watch the daemon at ADDRESS (its bind_pull) in the terminal, in napari or in Micro-Manager.

    Micro-Manager needs its server (Tools > Options > Run server on port 4827). Each channel has a window of ImageJ,
    with the newest restored volume; nothing is installed there.
    """
    from care_live.wire.keys import read_client

    keys = read_client(key, server_key)
    if napari:
        from care_live.viewer.napari import main_window

        main_window.watch(address, directory, keys=keys)
        return
    if micromanager:
        _show_in_micromanager(address, port, keys)
        return
    if once or as_json:
        _view_once(address, keys, as_json=as_json)
        return
    from care_live.viewer import terminal

    with contextlib.suppress(KeyboardInterrupt):  # the way to end it
        terminal.watch(address, keys=keys)


def _show_in_micromanager(address: str, port: int, keys: ClientKeys | None) -> None:
    from care_live.viewer.window_stack import show_restored

    logs.configure(0)
    stopping = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    show_restored(address, port, stopping, keys)


def _view_once(address: str, keys: ClientKeys | None, *, as_json: bool) -> None:
    from rich.console import Console

    from care_live.viewer import terminal

    facts = terminal.look_once(address, keys=keys)
    if as_json:
        click.echo(json.dumps(facts))
    else:
        Console().print(terminal.page(facts))
    if not facts["connected"]:
        raise SourceError(f"no daemon answers at {address}: is care-live run going, and is this its bind_pull?")


@click.command("record")
@click.argument("address")
@click.argument("directory", type=options.FILE)
@options.key
@options.server_key
@logs.verbosity
@logs.quiet
def record_command(
    address: str, directory: Path, key: Path | None, server_key: str | None, verbose: int, quiet: bool
) -> None:
    """Record what the daemon at ADDRESS (its bind_pull) publishes, into DIRECTORY/RUN_ID.

    No volume is left out: after a lost link, or a late start, the command asks the daemon for what is missing. If
    DIRECTORY has a recording of the same run, the command continues it. It ends with the run, or before with Ctrl-C. If
    the daemon has one run after the other (studio, live), it records each, until Ctrl-C.
    """
    from care_live.config import StoreConfig
    from care_live.publish import Subscriber
    from care_live.viewer.recorder_of_runs import record_runs
    from care_live.wire.keys import read_client

    logs.configure(0 if quiet else verbose)
    stopping = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    with Subscriber(address, mode="every", keys=read_client(key, server_key)) as subscriber:
        config = StoreConfig(directory=directory, full_wait_s=_DISK_WAIT_S)
        recordings = []
        for recording in record_runs(subscriber, config, stopping):
            _say_recorded(recording)
            recordings.append(recording)
    if not any(recording.path for recording in recordings):
        raise SourceError(f"nothing was recorded: no daemon with a run answered at {address}")
    if any(recording.gaps for recording in recordings):
        raise SystemExit(1)


def _say_recorded(recording: RecordingReport) -> None:
    if recording.path is None:
        return
    for gap in recording.gaps:
        click.echo(f"gap: {printable(gap)}")
    click.echo(
        f"{recording.path}: {recording.n_raw} raw, {recording.n_restored} restored volumes, {len(recording.gaps)} gaps"
        + (f", run {recording.ended}" if recording.ended else ", stopped before the run's end")
    )


@click.group("keys")
def keys_command() -> None:
    """Make, allow and revoke keys for links between machines."""


@keys_command.command("new", short_help="Write a new key, and its public half beside it.")
@click.argument("path", type=options.FILE)
def new_command(path: Path) -> None:
    """Write a new key to PATH, readable by you alone, and its public half to PATH.pub.

    The daemon needs one (server_key_file), and so does every watcher on another machine. The public halves go to the
    other side: the watcher's to `care-live keys allow`, the daemon's to --server-key.
    """
    from care_live.wire import keys, sockets

    pair = sockets.new_pair()
    keys.write_pair(path, pair)
    click.echo(
        f"{path}: the secret key, which stays on this machine\n{keys.public_file(path)}: the public key {pair.public}"
    )


@keys_command.command("allow", short_help="Let the owner of a public key connect.")
@click.argument("public")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["viewer", "recorder", "operator"]),
    default="viewer",
    show_default=True,
    help="What the owner may do; operators may change the network.",
)
@options.allow_list
def allow_command(public: str, name: str, role: Role, allow_list: Path) -> None:
    """Let the owner of PUBLIC (a key, or a .pub file) connect, under NAME; a running daemon notices."""
    from care_live.wire import keys

    keys.allow(allow_list, keys.read_public(public), name, role)
    click.echo(f"{allow_list}: {name} is {role}")


@keys_command.command("revoke", short_help="Take a name or a public key off the allow-list.")
@click.argument("who")
@options.allow_list
def revoke_command(who: str, allow_list: Path) -> None:
    """Take WHO (a name or a public key) off the allow-list; a running daemon notices."""
    from care_live.wire import keys

    for guest in keys.revoke(allow_list, who):
        click.echo(f"{allow_list}: {guest.name} ({guest.role}) is not allowed any more")
