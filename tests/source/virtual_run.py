"""Runs pycromanager on the virtual microscope, case after case, and prints what came as JSON lines.

A process of its own: one core a process, and a hanging driver must not hang the tests.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
from typing import Any

from care_live.config import VirtualConfig
from care_live.source.virtual import start_virtual_core, stop_virtual_core

CAMERA = "Virtual Camera"


def events_of(config: VirtualConfig) -> list[dict[str, Any]]:
    plan = config.acquisition
    return [
        {
            "axes": {"time": t, "channel": channel.preset, "z": z},
            "config_group": [plan.channel_group, channel.preset],
            "exposure": channel.exposure_ms,
            "z": plan.z_start_um + z * plan.z_step_um,
        }
        for t in range(plan.time_points)
        for channel in plan.channels
        for z in range(plan.z_planes)
    ]


class Seen:
    """What arrived at pycromanager's image processor."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []

    def __call__(self, pixels: Any, tags: dict[str, Any]) -> None:
        kept = {"axes": tags["Axes"], "shape": pixels.shape, "max": int(pixels.max()), "sum": int(pixels.sum())}
        named = ("CameraFrameCount", "Virtual-Z-um", "Virtual-Time-s", "TimeReceivedByCore")
        self.frames.append(kept | {name: tags[name] for name in named})


def release_after(seen: Seen, n_frames: int, core: Any) -> None:
    """Release a camera that stalls, once all frames before that have arrived and it had time to begin the next one."""
    while len(seen.frames) < n_frames:
        time.sleep(0.05)
    time.sleep(0.5)
    stop_virtual_core(core)


def acquire(config: VirtualConfig, seen: Seen) -> dict[str, Any]:
    from pycromanager import Acquisition

    error = None
    try:
        with Acquisition(None, "run", image_process_fn=seen, show_display=False) as acquisition:
            acquisition.acquire(events_of(config))
    except Exception as failure:
        error = str(failure)
    return {"frames": seen.frames, "error": error}


def acquire_with_pymmcore_plus(core: Any) -> dict[str, Any]:
    import useq

    frames: list[dict[str, Any]] = []
    core.mda.events.frameReady.connect(
        lambda pixels, event, meta: frames.append({"z": event.index["z"], **meta.get("camera_metadata", {})})
    )
    core.mda.run(
        useq.MDASequence(channels=[{"config": "DAPI", "exposure": 1}], z_plan={"bottom": 2, "top": 4, "step": 0.5})
    )
    return {"frames": frames}


def main() -> None:
    faulthandler.dump_traceback_later(540, exit=True)
    job = json.loads(sys.argv[1])
    config = VirtualConfig.model_validate(job["config"])
    core = start_virtual_core(config)
    n_exposures = 0
    for case in job["cases"]:
        core.setProperty(CAMERA, "LaserPower", case.get("laser_power", config.laser_power))
        core.setProperty("Z", "UseSequences", "Yes" if case["hardware_sequence"] else "No")
        core.setProperty(CAMERA, "MisbehaveAtExposure", n_exposures + case.get("at", 0))
        core.setProperty(CAMERA, "Misbehave", case["misbehave"])
        seen = Seen()
        if case["misbehave"] == "stall":
            threading.Thread(target=release_after, args=(seen, case["at"], core)).start()
        result = acquire_with_pymmcore_plus(core) if case.get("engine") == "pymmcore-plus" else acquire(config, seen)
        print("RESULT", json.dumps(case | result), flush=True)
        n_exposures = int(core.getProperty(CAMERA, "Exposures")) if case["misbehave"] != "stall" else 0
    os._exit(0)


if __name__ == "__main__":
    main()
