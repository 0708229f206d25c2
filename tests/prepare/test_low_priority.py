"""Training gives way to an acquisition; a priority that is lower already stays."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

CHILD = """
import psutil
from care_live.prepare.low_priority import give_way
{before}
give_way()
give_way()
print(psutil.Process().nice())
"""


def priority_after(before: str = "") -> int:
    command = [sys.executable, "-c", CHILD.format(before=before)]
    return int(subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout)


def test_the_process_gives_way() -> None:
    wanted = psutil.IDLE_PRIORITY_CLASS if sys.platform == "win32" else 19
    assert priority_after() == wanted


THREADS = """
import os, threading
from care_live.prepare.low_priority import give_way
end = threading.Event()
one = threading.Thread(target=end.wait)
one.start()
give_way()
print(*{os.sched_getscheduler(n) == os.SCHED_IDLE for n in (0, one.native_id)})
end.set()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such priority")
def test_threads_that_are_there_already_give_way_too() -> None:
    command = [sys.executable, "-c", THREADS]
    assert subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout == "True\n"


@pytest.mark.skipif(sys.platform == "win32", reason="one class is below all there")
def test_a_lower_priority_is_not_raised() -> None:
    assert priority_after("psutil.Process().nice(19)") == 19
