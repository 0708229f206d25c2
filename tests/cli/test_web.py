"""``care-live web`` as the daemon starts it: a process that prints its address, watches, and ends on request."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from care_live.cli.web import web_command
from care_live.config import PublishConfig, StoreConfig
from care_live.errors import ConfigError
from care_live.images import ModelIdentity, NetworkInUse
from care_live.publish.publisher import Publisher
from care_live.store import open_run
from tests.make.scenes import STARTED, TOKEN, restored
from tests.make.waiting import until

_MAIN = "from care_live.cli.web import web_command; web_command()"


@contextmanager
def command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command; gives its process and the address that it printed."""
    process = subprocess.Popen([sys.executable, "-c", _MAIN, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


@pytest.mark.slow
def test_it_watches_a_daemon_and_its_run(tmp_path: Path):
    writer = open_run(StoreConfig(directory=tmp_path, keep_free_mib=0), STARTED)
    writer.write_raw(restored(0).volume)
    writer.close()
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    config = PublishConfig(bind="tcp://127.0.0.1:*", bind_pull="tcp://127.0.0.1:*")
    with Publisher(config) as publisher:
        publisher.start(STARTED, NetworkInUse(ModelIdentity("worm3d", "0" * 64), {}))
        arguments = ["--connect", publisher.address_pull, "--run", str(tmp_path / "run-1")]
        with command(*arguments, "--bind", "127.0.0.1:0", "--token-file", str(token_file)) as (process, address):
            assert address.endswith(f"/?token={TOKEN}")
            with httpx.Client(follow_redirects=True, timeout=60) as client:
                assert "care_live" in client.get(address).text
            until(lambda: publisher.n_watchers)  # it has connected to the daemon
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bind", "nonsense"], "HOST:PORT"),
        (["--bind", "0.0.0.0:0"], "--token-file"),
        (["--run", "/no/such/run"], "not the directory of a run"),
        (["--bind", "127.0.0.1:0", "--key", "k"], "belong together"),
        (["--bind", "203.0.113.7:5794", "--token-file", "TOKEN"], "another --bind"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_served_is_one_clear_line(tmp_path: Path, arguments: list[str], said: str):
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    filled = [str(token_file) if argument == "TOKEN" else argument for argument in arguments]
    with pytest.raises(ConfigError, match=said):
        web_command.main(filled, standalone_mode=False)
