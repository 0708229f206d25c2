"""The microscope of the tap bench: pycromanager's engine on a demo camera, once without and once with the tap, in turn.

``python _tap_microscope.py SIZE_PX N_TIME_POINTS N_PLANES EXPOSURE_MS N_PAIRS ADDRESS`` prints one line of JSON a run.
Between two runs with the tap it waits for a line on stdin: the daemon is ready for the next one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import mm_test_adapters
import numpy as np
from pycromanager import Acquisition, Core, start_headless, stop_headless

from care_live.config import AcquisitionConfig, Channel
from care_live.source import tap
from care_live.source.micromanager import by_time_point, events_of

Process = Callable[[Any, dict[str, Any]], Any]


class Timed:
    """Calls a processor and notes when, and how long it took."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._came_ns: list[int] = []
        self._took_ns: list[int] = []
        self._cpu_ns: list[int] = []

    def __call__(self, image: Any, tags: dict[str, Any]) -> Any:
        came, cpu = time.perf_counter_ns(), time.thread_time_ns()
        result = self._process(image, tags)
        self._cpu_ns.append(time.thread_time_ns() - cpu)
        self._took_ns.append(time.perf_counter_ns() - came)
        self._came_ns.append(came)
        return result

    def figures(self) -> dict[str, float]:
        took_us = np.array(self._took_ns) / 1000
        seconds = (self._came_ns[-1] - self._came_ns[0]) / 1e9
        return {
            "frames": len(took_us),
            "frames_per_s": (len(took_us) - 1) / seconds,
            "us_p50": float(np.percentile(took_us, 50)),
            "us_p99": float(np.percentile(took_us, 99)),
            "cpu_us_p50": float(np.median(self._cpu_ns)) / 1000,
        }


def acquire(events: list[dict[str, Any]], process: Process) -> dict[str, float]:
    timed = Timed(process)
    with Acquisition(None, "bench", image_process_fn=timed) as acquisition:
        for together in by_time_point(events):
            acquisition.acquire(together)
    return timed.figures()


def start_camera(size_px: int) -> None:
    start_headless(
        mm_test_adapters.device_adapter_path(), "MMConfig_demo.cfg", python_backend=True, buffer_size_mb=1024
    )
    core = Core()
    for device, name, value in (
        ("Camera", "PixelType", "16bit"),
        ("Camera", "OnCameraCCDXSize", str(size_px)),
        ("Camera", "OnCameraCCDYSize", str(size_px)),
        ("Camera", "FastImage", "1"),
        ("Z", "UseSequences", "Yes"),
    ):
        core.set_property(device, name, value)


def main() -> None:
    size_px, n_t, n_z, exposure_ms, n_pairs, address = sys.argv[1:]
    acquisition = AcquisitionConfig(
        time_points=int(n_t),
        z_planes=int(n_z),
        channels=(Channel(exposure_ms=float(exposure_ms)),),
        hardware_sequence=True,
    )
    events = events_of(acquisition)
    start_camera(int(size_px))
    acquire(events, lambda image, tags: None)  # the first run warms the core up
    for _ in range(int(n_pairs)):
        print(json.dumps({"tap": 0, **acquire(events, lambda image, tags: None)}), flush=True)
        sys.stdin.readline()
        tapped = tap(address, events=events, pass_on=False)
        print(json.dumps({"tap": 1, **acquire(events, tapped)}), flush=True)
        tapped.close(within_s=120)
    stop_headless()


if __name__ == "__main__":
    main()
