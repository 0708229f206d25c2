"""A microscope that never ends, behind a tap: ``python -m soaking.camera ADDRESS VOLUMES VOLUMES_PER_S``

Every plane follows from its place, so that each one that is stored can be checked without keeping it.
"""

from __future__ import annotations

import itertools
import sys
import time

import numpy as np
from numpy.typing import NDArray

SHAPE = (8, 48, 48)
_NOISE = np.random.default_rng(1).poisson(120, SHAPE).astype(np.uint16)


def volume(t: int) -> NDArray[np.uint16]:
    """Return what the camera sees at a time point, (z, y, x)."""
    pixels = np.roll(_NOISE, t, axis=2) + np.uint16(t % 7)
    pixels[:, 0, 0] = t % 65521
    pixels[:, 0, 1] = np.arange(SHAPE[0])
    return pixels


def main() -> int:
    """Expose in real time; exit code 1 when the daemon did not take everything."""
    from care_live.source import tap

    address, n_volumes, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    places = itertools.product(range(n_volumes), range(SHAPE[0]))
    tapped = tap(address, events=[{"axes": {"time": t, "z": z}, "z": 0.5 * z} for t, z in places])
    began_s = time.monotonic()
    for t in range(n_volumes):
        for z, plane in enumerate(volume(t)):
            time.sleep(max(0.0, began_s + (t + z / SHAPE[0]) / rate - time.monotonic()))
            tapped(plane.copy(), {"Axes": {"time": t, "z": z}, "Exposure": 10.0, "PixelSize_um": 0.25})
    return 0 if tapped.close("finished", within_s=300) else 1


if __name__ == "__main__":
    sys.exit(main())
