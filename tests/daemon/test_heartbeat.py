"""What watchers and operators read of several workers; where one restores, nothing is added."""

from __future__ import annotations

import msgspec
from click.testing import CliRunner

from care_live.cli.health import status_command
from care_live.daemon.health import Health
from care_live.daemon.heartbeat import heartbeat_of
from care_live.daemon.run_metrics import DaemonStatus
from care_live.wire.daemon_status import Status
from tests.make.worker_states import WORKERS


def test_one_worker_adds_nothing_to_the_message() -> None:
    assert b"workers" not in msgspec.json.encode(heartbeat_of(DaemonStatus()))


def test_what_there_is_no_room_for_is_cut() -> None:
    """Why there is no machine may take a paragraph; a message that is refused for it would reach no watcher."""
    long = [{**WORKERS[0], "state": "no machine yet: " + "the workers are busy " * 50}] * 100
    said = heartbeat_of(DaemonStatus(workers=tuple(long), detail="x" * 5000))
    received = msgspec.json.decode(msgspec.json.encode(said), type=Status)
    assert isinstance(received.workers, tuple) and len(received.workers) == 64
    assert received.workers[0].endswith("…") and "no machine yet" in received.workers[0]


def test_the_command_lists_the_workers() -> None:
    health = Health("127.0.0.1:0", lambda: DaemonStatus(restored=13, workers=WORKERS), lambda: True)
    health.start()
    try:
        said = CliRunner().invoke(status_command, ["--address", health.address])
    finally:
        health.stop()
    assert said.exit_code == 0, said.output
    lines = [line.split() for line in said.output.splitlines()]
    assert ["worker", "1", "device", "cuda:1", "state", "starting", "restored", "6", "restarts", "1"] in lines
    assert ["restored", "13"] in lines
