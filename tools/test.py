"""The whole suite, from nothing: ``python tools/test.py [pytest arguments]``.

``python tools/test.py faults``: every fault that a run must survive, in its long form, for which the machine should be
quiet; about an hour. The suite itself has a short form of each.
"""

from __future__ import annotations

import os
import subprocess
import sys

from environment import ROOT, ensure, inference_extra

if __name__ == "__main__":
    ensure(inference_extra(), "openvino", "mm", "train", "import", "view", "napari", "cluster", "dev")
    arguments = sys.argv[1:]
    if arguments[:1] == ["faults"]:
        os.environ["CARE_LIVE_FAULTS"] = "full"
        arguments = ["tests/faults", *arguments[1:]]
    raise SystemExit(subprocess.call([sys.executable, "-m", "pytest", *arguments], cwd=ROOT))
