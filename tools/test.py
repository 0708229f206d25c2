"""The whole suite, from nothing: ``python tools/test.py [pytest arguments]``."""

from __future__ import annotations

import subprocess
import sys

from environment import ROOT, ensure, inference_extra

if __name__ == "__main__":
    ensure(inference_extra(), "openvino", "mm", "train", "import", "view", "napari", "dev")
    raise SystemExit(subprocess.call([sys.executable, "-m", "pytest", *sys.argv[1:]], cwd=ROOT))
