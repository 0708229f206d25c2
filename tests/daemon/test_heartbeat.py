"""What watchers and operators read of several workers; where one restores, nothing is added."""

from __future__ import annotations

import msgspec
from click.testing import CliRunner

from care_live.cli.health import status_command
from care_live.daemon.health import Health
from care_live.daemon.heartbeat import heartbeat_of
from care_live.daemon.run_metrics import DaemonStatus
from tests.make.worker_states import WORKERS


def test_one_worker_adds_nothing_to_the_message() -> None:
    assert b"workers" not in msgspec.json.encode(heartbeat_of(DaemonStatus()))


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
