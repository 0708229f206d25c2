"""The microscope of the tap bench: pycromanager's engine on a demo camera, once without and once with the tap, in turn.

``python _tap_microscope.py SIZE_PX N_TIME_POINTS N_PLANES EXPOSURE_MS N_PAIRS ADDRESS`` prints one line of JSON a run.
Between two runs with the tap it waits for a line on stdin: the daemon is ready for the next one. In the place of the
address may stand another writer, see `_tap_writers`, and after it a folder to import it from.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mm_test_adapters
import numpy as np
from pycromanager import Acquisition, Core, start_headless, stop_headless

from care_live.config import AcquisitionConfig, Channel
from care_live.source import tap
from care_live.source.micromanager import by_time_point, events_of

sys.path.insert(0, str(Path(__file__).parent))
from _tap_writers import WRITERS

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


def acquire(
    events: list[dict[str, Any]], process: Process, close: Callable[[], Any] = lambda: None
) -> dict[str, float]:
    timed, cpu_s = Timed(process), time.process_time()
    with Acquisition(None, "bench", image_process_fn=timed) as acquisition:
        for together in by_time_point(events):
            acquisition.acquire(together)
    close()
    figures = timed.figures()
    return {**figures, "process_cpu_ms": 1000 * (time.process_time() - cpu_s) / figures["frames"]}


def touch_memory(events: list[dict[str, Any]]) -> None:
    """Keep all frames, some times over, which warms the core up as well.

    A virtual machine has its memory from another system, which gives each page at its first use: a new plane of
    2048 x 2048 took 14 ms there, one in memory that was used before 2 ms. Without a tap no frame needs new memory.
    """
    kept: list[Any] = []
    for _ in range(3):
        acquire(events, lambda image, tags: kept.append(image))
        kept.clear()


def written(events: list[dict[str, Any]], name: str, n_z: int, size_px: int) -> dict[str, float]:
    """Acquire into another writer."""
    with tempfile.TemporaryDirectory() as folder:
        writer = WRITERS[name](Path(folder), n_z, size_px)
        return acquire(events, lambda image, tags: writer.append(image) and None, writer.close)


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
    size_px, n_t, n_z, exposure_ms, n_pairs, address, *where = sys.argv[1:]
    sys.path += where
    acquisition = AcquisitionConfig(
        time_points=int(n_t),
        z_planes=int(n_z),
        channels=(Channel(exposure_ms=float(exposure_ms)),),
        hardware_sequence=True,
    )
    events = events_of(acquisition)
    start_camera(int(size_px))
    touch_memory(events)
    for _ in range(int(n_pairs)):
        print(json.dumps({"tap": 0, **acquire(events, lambda image, tags: None)}), flush=True)
        if address in WRITERS:
            print(json.dumps({"tap": 1, **written(events, address, int(n_z), int(size_px))}), flush=True)
            continue
        sys.stdin.readline()
        tapped = tap(address, events=events, pass_on=False)
        print(json.dumps({"tap": 1, **acquire(events, tapped, partial(tapped.close, within_s=120))}), flush=True)
    stop_headless()


if __name__ == "__main__":
    main()
