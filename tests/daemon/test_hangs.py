"""Ctrl-C twice, whatever hangs: the process ends, and every plane that arrived is stored."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from care_live.store import RunReader, verify
from tests.daemon.troubled import KEYS, N_LAST
from tests.make.runs import settings
from tests.make.scripted import pixels_of
from tests.make.waiting import until
from tests.test_cli import toml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="console signals go to the whole group there"),
]
END_S = 120.0
"""Within this a daemon that was ordered twice must be gone; it took more than 100 s, or for ever."""


@contextmanager
def troubled(folder: Path, kind: str, **sections: dict[str, object]) -> Iterator[subprocess.Popen[str]]:
    """Run a daemon until all planes have come; kill it at the end of the block where it still lives."""
    tree = settings(folder, {"kind": "virtual"}, restore={"policy": "latest"}, **sections)
    (folder / "config.toml").write_text(toml(tree))
    command = [sys.executable, "-m", "tests.daemon.troubled", kind, "run", "config.toml", "--run-id", "test"]
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command += ["--json", "status.json"]
    with (
        (folder / "log.txt").open("w") as log,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            until(lambda: "all planes came" in said_in(folder) or process.poll() is not None, END_S)
            yield process
        finally:
            process.kill()


def said_in(folder: Path) -> str:
    """Return all that a daemon has logged so far."""
    return (folder / "log.txt").read_text(errors="replace")


def ended(daemon: subprocess.Popen[str], folder: Path) -> tuple[str, str]:
    """Wait for a daemon's end; return what it printed, and its log."""
    printed, _ = daemon.communicate(timeout=END_S)
    return printed, said_in(folder)


def interrupt_twice(daemon: subprocess.Popen[str], folder: Path) -> None:
    """Send the second Ctrl-C once the first was taken: two that come together count as one."""
    daemon.send_signal(signal.SIGINT)
    until(lambda: "signal SIGINT" in said_in(folder) or daemon.poll() is not None, END_S)
    daemon.send_signal(signal.SIGINT)


def check_arrived(folder: Path) -> None:
    """Compare what is stored with all planes that came: two volumes, and two planes of the third."""
    run = folder / "runs" / "test"
    reader = RunReader(run)
    assert reader.keys("raw") == KEYS
    for key in KEYS:
        volume = reader.read_raw(key)
        received = list(volume.integrity.received)
        assert len(received) == (N_LAST if key.t == 2 else len(volume.pixels))
        assert (volume.pixels[received] == pixels_of(key)[received]).all()
    assert reader.ended is not None
    assert verify(run).clean


@pytest.mark.parametrize(("kind", "code"), [("silent", 0), ("hung", 1), ("deaf", 1), ("slow-disk", 0)])
def test_ctrl_c_twice_ends_the_process_and_keeps_what_arrived(tmp_path, kind, code):
    with troubled(tmp_path, kind) as daemon:
        interrupt_twice(daemon, tmp_path)
        _, said = ended(daemon, tmp_path)
    assert daemon.returncode == code, said
    assert "Traceback" not in said
    check_arrived(tmp_path)
    if kind == "hung":
        assert "hang: intake" in said.splitlines()[-1]


def test_ctrl_c_once_ends_a_hung_driver_after_the_time_to_drain(tmp_path):
    with troubled(tmp_path, "hung", daemon={"drain_s": 2.0}) as daemon:
        daemon.send_signal(signal.SIGINT)
        _, said = ended(daemon, tmp_path)
    assert daemon.returncode == 1, said
    check_arrived(tmp_path)


def test_a_driver_that_never_closes_does_not_keep_the_process(tmp_path):
    with troubled(tmp_path, "stuck") as daemon:
        _, said = ended(daemon, tmp_path)
    assert daemon.returncode == 1, said
    assert "closing the source" in said.splitlines()[-1]
    check_arrived(tmp_path)


def test_an_error_that_is_not_ours_does_not_keep_the_process_where_a_driver_hangs(tmp_path):
    with troubled(tmp_path, "broken") as daemon:
        _, said = ended(daemon, tmp_path)
    assert daemon.returncode == 1, said
    assert "ZeroDivisionError" in said
    assert "closing the source" in said.splitlines()[-1]
    check_arrived(tmp_path)


def test_a_disk_that_hangs_for_good_is_said_and_ends_the_process(tmp_path):
    with troubled(tmp_path, "dead-disk") as daemon:
        interrupt_twice(daemon, tmp_path)
        _, said = ended(daemon, tmp_path)
    assert daemon.returncode == 1, said
    assert "the disk hangs" in said
    assert "records that arrived are not written" in said


def test_a_run_that_stored_none_of_its_planned_planes_ends_with_exit_code_1(tmp_path):
    with troubled(tmp_path, "homeless") as daemon:
        printed, said = ended(daemon, tmp_path)
    assert daemon.returncode == 1, said
    assert printed.startswith("0 of 12 planes")
    last = said.strip().splitlines()[-1]
    assert "12 of 12 planned planes never came; 10 planes came and have no place (10 unplanned)" in last
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["phase"] == "finished"
    assert len(status["shortfalls"]) == 2
