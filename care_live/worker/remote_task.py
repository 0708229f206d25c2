"""What Dask runs on another machine: a worker's process, from its start to its end."""

from __future__ import annotations

import subprocess
import sys

import msgspec

from care_live.worker.remote_protocol import Invitation


def work_for(invitation: Invitation) -> int:
    """Run a worker for a daemon; return its exit code.

    A process of its own, since a Dask worker may not have children that Python starts by itself, and since the task's
    thread can't be ended: the process ends when its standard input does, also where the Dask worker is killed.
    """
    command = [sys.executable, "-m", "care_live.worker.remote_worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None, "it is a pipe"
        process.stdin.write(msgspec.json.encode(invitation) + b"\n")
        process.stdin.flush()
        return process.wait()
