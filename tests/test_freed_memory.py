"""Freed planes stay with the process: the system need not fill new pages with zeros for each."""

from __future__ import annotations

import subprocess
import sys

import pytest

from care_live.freed_memory import keep_freed_memory

_FAULTS = """
import resource
import numpy as np
from care_live.freed_memory import keep_freed_memory
assert keep_freed_memory()
def touch():
    plane = np.ones((1, 3 * 2**20), np.uint8)  # below numpy's huge pages
touch(); touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_planes_that_are_freed_and_made_again_take_no_new_pages() -> None:
    ran = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, timeout=300, check=True)
    assert int(ran.stdout) < 5 * 768, "768 pages a plane"


def test_other_systems_are_left_as_they_are() -> None:
    assert not keep_freed_memory("darwin") and not keep_freed_memory("win32")
