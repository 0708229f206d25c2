"""The camera of the live-view bench: a program with a core of pymmcore-plus in Live, which takes orders by stdin.

Orders: ``watch``, ``unwatch``, ``rate SECONDS`` (answers with the camera's frames per second).
"""

from __future__ import annotations

import sys
import time
from typing import Any

import pymmcore
from pymmcore_plus import CMMCorePlus

from care_live.source import live


def main(address: str, field: str, exposure_ms: str) -> None:
    core = CMMCorePlus.instance()
    core.loadSystemConfiguration()
    for name, value in (("OnCameraCCDXSize", field), ("OnCameraCCDYSize", field), ("PixelType", "16bit")):
        core.setProperty("Camera", name, value)
    core.setProperty("Camera", "FastImage", 1)
    core.setExposure(float(exposure_ms))
    core.startContinuousSequenceAcquisition(0)
    watching: Any = live(core, address, runs=None)
    for line in sys.stdin:
        order, *rest = line.split()
        answer = 0.0
        if order == "rate":
            answer = rate(core, float(rest[0]))
        elif order == "watch" and watching is None:
            watching = live(core, address, runs=None)
        elif order == "unwatch" and watching is not None:
            watching.close()
            watching = None
        print(answer, flush=True)


def rate(core: Any, seconds: float) -> float:
    """Return the camera's frames per second, by the numbers that the core gives them."""
    first, began_s = number_of_last(core), time.monotonic()
    time.sleep(seconds)
    return (number_of_last(core) - first) / (time.monotonic() - began_s)


def number_of_last(core: Any) -> int:
    metadata = pymmcore.Metadata()
    core.getLastImageMD(metadata)
    return int(metadata.GetSingleTag("ImageNumber").GetValue())


if __name__ == "__main__":
    main(*sys.argv[1:])
