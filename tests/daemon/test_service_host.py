"""The process that keeps a daemon running where the system does not."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from care_live.daemon.service_host import DaemonKeeper
from care_live.daemon.service_rule import Restart, ServiceRule

FAILS_TWICE = """
import pathlib, sys
seen = pathlib.Path("starts")
seen.write_text((seen.read_text() if seen.exists() else "") + "x")
sys.exit(2 if len(seen.read_text()) == 3 else 1)
"""
DRAINS = """
import pathlib, sys
pathlib.Path("started").touch()
print("running", flush=True)
sys.stdin.read()
print("drained", flush=True)
"""

DEADLINE_S = 240.0
CONFIG = """
[source]
kind = "remote"
bind = "tcp://127.0.0.1:0"
[publish]
bind = "tcp://127.0.0.1:0"
bind_pull = "tcp://127.0.0.1:0"
[daemon]
status_bind = "127.0.0.1:0"
"""


def keeper(folder: Path, script: str, restart: Restart = "always") -> DaemonKeeper:
    rule = ServiceRule("lab", folder / "run.toml", restart, stop_s=60)
    return DaemonKeeper(rule, command=[sys.executable, "-c", script], pause_s=0.01)


def test_a_daemon_is_started_again_but_not_with_an_invalid_config(tmp_path: Path) -> None:
    assert keeper(tmp_path, FAILS_TWICE).run(lambda: None) == 2
    assert (tmp_path / "starts").read_text() == "xxx"


def test_an_order_to_stop_drains_the_daemon(tmp_path: Path) -> None:
    kept = keeper(tmp_path, DRAINS)
    codes: list[int] = []
    host = threading.Thread(target=lambda: codes.append(kept.run(lambda: None)))
    host.start()
    try:
        while not (tmp_path / "started").exists():
            host.join(0.05)
            assert host.is_alive()
    finally:
        kept.stop()
        host.join(60)
    assert codes == [0]
    assert (tmp_path / "lab.log").read_text() == "running\ndrained\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the service control manager starts it there")
def test_the_host_drains_the_daemon_when_it_is_terminated(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(CONFIG, encoding="utf-8")
    rule, log = ServiceRule("lab", tmp_path / "run.toml", "always", stop_s=60), tmp_path / "lab.log"
    host = subprocess.Popen(rule.host_command)
    try:
        until = time.monotonic() + DEADLINE_S
        while not (log.exists() and b"publishing" in log.read_bytes()) and time.monotonic() < until:
            assert host.poll() is None
            time.sleep(0.1)
        host.terminate()
        assert host.wait(DEADLINE_S) == 0
    finally:
        host.kill()
        host.wait()
    assert "standard input has ended: draining" in log.read_text(encoding="utf-8")
