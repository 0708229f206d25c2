"""A program in which a person uses Live: two lines of it are ours. It prints what its own buffer still has.

A process of its own: pymmcore-plus may abort when the interpreter ends.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from care_live.source import live

N_FRAMES = 500
"""Ten seconds of Live."""


def demo_core(kind: str) -> Any:
    """Return a core with the demo camera: pymmcore-plus's, or pycromanager's of its Python backend."""
    import mm_test_adapters

    if kind == "pymmcore-plus":
        from pymmcore_plus import CMMCorePlus

        core = CMMCorePlus.instance()
        core.loadSystemConfiguration()
        return core
    from mmpycorex import create_core_instance
    from pycromanager import Core

    adapters = mm_test_adapters.device_adapter_path()
    create_core_instance(str(adapters), os.path.join(str(adapters), "MMConfig_demo.cfg"), python_backend=True)  # noqa: PTH118
    return Core()


def main(kind: str, address: str) -> None:
    core = demo_core(kind)

    def do(name: str, *arguments: Any) -> Any:
        snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        return getattr(core, name if kind == "pymmcore-plus" else snake)(*arguments)

    do("setExposure", 20.0)
    watching = live(core, address, runs=None)
    for line in sys.stdin:
        match line.strip():
            case "live":
                do("startSequenceAcquisition", N_FRAMES, 0, True)
            case "snap":
                do("snapImage")
            case "end":
                break
    left = do("getRemainingImageCount")
    do("stopSequenceAcquisition")
    watching.close()
    print(json.dumps({"left": left, "sent": watching.n_sent}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
