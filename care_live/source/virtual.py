"""The virtual microscope: a real Micro-Manager core whose camera looks at a simulated specimen.

Stages, wheels and shutters are Micro-Manager's own demo devices; the camera is written in Python. Any engine
that drives a core (pycromanager's, pymmcore-plus's) drives this one in the same way::

    core = start_virtual_core(VirtualConfig(specimen="worm"))
    with Acquisition(None, "run", image_process_fn=...) as acquisition:
        acquisition.acquire(events)
    stop_virtual_core(core)
    truth(config, VolumeKey(t=0))  # what the first volume would be without noise

Misbehaviour (`VirtualConfig.misbehave`, at exposure N of the run; the camera's properties ``Misbehave`` and
``MisbehaveAtExposure`` do the same at run time): *drop* the frame is exposed and lost · *duplicate* the frame
comes twice (in a hardware sequence) · *late* it comes 2 s late · *stall* it never comes · *raise* the camera's
driver fails · *resize* the camera's binning changes from then on · *saturate* daylight floods the camera. A
frame dropped while snapping shows as the previous frame once more, with its old counter: the core hands out
what it has.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from care_live.config import VirtualConfig
from care_live.images import VolumeKey
from care_live.imports import installed, need
from care_live.simulate.scene import Scene

if TYPE_CHECKING:
    from care_live.source.virtual_core import VirtualCore


def start_virtual_core(config: VirtualConfig, *, buffer_mib: int = 512) -> VirtualCore:
    """Start the core and make it the one that pycromanager's engine drives; one a process.

    The core has pymmcore-plus's interface and pycromanager's (``snapImage`` and ``snap_image``). Its camera
    device is called ``Virtual Camera``, with the property ``LaserPower``. pycromanager's ``stop_headless``
    unloads it like any other core.

    Raises
    ------
    ConfigError
        The [mm] extra is not installed.
    SourceError
        This process has a core already, or the demo devices do not load.
    """
    installed("psfmodels", extra="mm")
    scene = Scene(config)
    with ThreadPoolExecutor(1, "blur") as pool:
        blurred = pool.submit(scene.prepare)  # a second of work, and so are these imports
        for module in ("pymmcore_plus", "pycromanager", "mm_test_adapters"):
            need(module, extra="mm")
        from care_live.source import virtual_core

        core = virtual_core.start(config, scene, buffer_mib=buffer_mib)
        blurred.result()
    return core


def stop_virtual_core(core: VirtualCore) -> None:
    """Release the threads that wait for the camera and unload all devices."""
    core.unloadAllDevices()


def truth(config: VirtualConfig, key: VolumeKey) -> NDArray[np.float32]:
    """Return what a planned volume would be without noise: expected camera counts, (z, y, x) float32.

    It is blurred by the microscope, bleached as in the middle of its stack, with the camera's nominal offset
    and gain, so raw and restored volumes can be compared with it directly.

    Raises
    ------
    ConfigError
        The plan has no such channel or position, or psfmodels is not installed.
    """
    return _scene(config).truth(key)


@lru_cache(maxsize=2)
def _scene(config: VirtualConfig) -> Scene:
    return Scene(config)
