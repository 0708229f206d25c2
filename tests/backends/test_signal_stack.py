"""A process that has closed networks of OpenVINO takes signals as before."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("openvino") is None or sys.platform == "win32", reason="needs the [openvino] extra, and signals"
)
CHILD = """
import signal
from care_live.backends.openvino import OpenVinoSession
from care_live.backends.session import Options
from tests.make.seeded_unets import seeded

def opened():
    shape = (1, 1, 8, 32, 32)
    content = seeded(filters=4).SerializeToString()
    return OpenVinoSession(content, {"raw": shape, "low": (1,), "high": (1,)}, Options("openvino", threads=1))

first = opened()
second = opened()
del first
del second
signal.signal(signal.SIGINT, lambda number, frame: print("taken", flush=True))
signal.raise_signal(signal.SIGINT)
"""


def test_signals_are_taken_after_networks_were_closed_in_the_order_in_which_they_were_opened() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "taken\n"), done.stderr
