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
    return int(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


def test_the_process_gives_way() -> None:
    own = psutil.Process().nice()
    wanted = psutil.BELOW_NORMAL_PRIORITY_CLASS if sys.platform == "win32" else max(15, own)
    assert priority_after() == wanted


@pytest.mark.skipif(sys.platform == "win32", reason="one class is below normal there")
def test_a_lower_priority_is_not_raised() -> None:
    assert priority_after("psutil.Process().nice(19)") == 19
