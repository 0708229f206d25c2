"""The log of a service stays bounded, also while the daemon runs."""

from __future__ import annotations

import os
from pathlib import Path

from care_live.daemon.service_log import kept_log


def test_a_long_log_is_put_aside_while_it_is_written(tmp_path: Path) -> None:
    log, (read, write) = tmp_path / "lab.log", os.pipe()
    with os.fdopen(write, "wb") as daemon, kept_log(os.fdopen(read, "rb"), log, log_bytes=1000):
        for number in range(200):
            daemon.write(b"line %04d of 30 bytes, and more\n" % number)
        daemon.close()
    logs = [log, *(tmp_path / f"lab.log.{number}" for number in (1, 2, 3))]
    assert sorted(tmp_path.iterdir()) == logs
    assert all(one.stat().st_size <= 1000 for one in logs)
    assert log.read_text().endswith("line 0199 of 30 bytes, and more\n")


def test_a_log_that_cannot_be_opened_ends_nothing(tmp_path: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "wb") as daemon, kept_log(os.fdopen(read, "rb"), tmp_path / "missing" / "lab.log"):
        daemon.write(b"a line\n")
        daemon.close()
