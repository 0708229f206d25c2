"""How fast the virtual microscope takes 512x512 planes of a worm, beside numpy's own noise; one thread.

Alternating turns, medians; ``planes_per_s_best`` is from the fastest plane, for busy machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from care_live.simulate import Grid, Light, Microscope, Sensor, Worm, noise, sensor

_TURNS = 64
_SIZE_PX = 512


def measure(arguments: list[str]) -> dict[str, float]:
    """Return milliseconds a plane, planes a second, and numpy's time over ours for the camera's noise."""
    del arguments
    camera = sensor((_SIZE_PX, _SIZE_PX), 1)
    field_um = _SIZE_PX * 0.5
    microscope = Microscope(Worm(1, (field_um, field_um)))
    stack = Grid.centred((32, _SIZE_PX, _SIZE_PX), (1.0, 0.5, 0.5))
    planes = [microscope.electrons(stack.plane(z), 0.0, Light()) for z in range(32)]
    numpy_rng = np.random.default_rng(1)
    whole: list[float] = []
    ours: list[float] = []
    numpys: list[float] = []
    for turn in range(_TURNS):
        z, rng = turn % 32, noise.generator(1, turn)
        whole.append(_ms(lambda z=z, rng=rng: camera.expose(microscope.electrons(stack.plane(z), 0.0, Light()), rng)))
        ours.append(_ms(lambda z=z, rng=rng: camera.expose(planes[z], rng)))
        numpys.append(_ms(lambda z=z: _expose_with_numpy(camera, planes[z], numpy_rng)))
    return {
        "plane_ms_p50_512": float(np.median(whole)),
        "planes_per_s_p50_512": 1000 / float(np.median(whole)),
        "planes_per_s_best_512": 1000 / min(whole),
        "noise_ms_p50_512": float(np.median(ours)),
        "numpy_noise_ms_p50_512": float(np.median(numpys)),
        "noise_speedup": float(np.median(np.array(numpys) / np.array(ours))),
    }


def _expose_with_numpy(camera: Sensor, electrons: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    signal = rng.poisson(electrons + camera.dark_electrons) + camera.read_noise * rng.standard_normal(electrons.shape)
    return np.clip(signal * camera.gain + camera.offset, 0, 65535).astype(np.uint16)


def _ms(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - begun)
