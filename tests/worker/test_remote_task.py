"""The task that Dask runs: a process that gets the invitation on its standard input, and whose exit code comes back."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import msgspec
import pytest

from care_live.wire.sockets import new_pair
from care_live.worker.remote_protocol import Invitation
from care_live.worker.remote_task import work_for

INVITATION = Invitation("tcp://192.0.2.7:4000", new_pair(), "d" * 40)


@pytest.mark.skipif(sys.platform == "win32", reason="stands in for Python by a script")
@pytest.mark.parametrize("code", [0, 3])
def test_the_process_gets_the_invitation_and_its_exit_code_is_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """It reads one line only: were its input closed before it ended, it would read of its end."""
    python, came = tmp_path / "python", tmp_path / "came"
    python.write_text(f'#!/bin/sh\nread -r line\nprintf "%s\\n%s" "$line" "$*" > {came}\nexit {code}\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(python))
    assert work_for(INVITATION) == code
    line, _, arguments = came.read_text().partition("\n")
    assert msgspec.json.decode(line.encode(), type=Invitation) == INVITATION
    assert arguments == "-m care_live.worker.remote_worker"
