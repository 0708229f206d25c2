"""The whole of care_live on a virtual microscope, from nothing: ``python tools/demo.py``.

Makes .venv, installs what is pinned, and runs ``care-live demo`` with the same arguments.
"""

from __future__ import annotations

import subprocess
import sys

from environment import ensure, inference_extra

if __name__ == "__main__":
    ensure(inference_extra(), "mm", "view")
    raise SystemExit(subprocess.call([sys.executable, "-m", "care_live", "demo", *sys.argv[1:]]))
