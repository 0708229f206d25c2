"""Small volumes for the daemon's tests."""

import numpy as np

from care_live.images import Integrity, ModelIdentity, Restored, Volume, VolumeKey, read_only


def volume(t: int = 0, p: int = 0, c: int = 0, planes: int = 4, last_plane_ns: int = 0) -> Volume:
    indices = tuple(range(planes))
    pixels = np.full((planes, 8, 8), 100 + t, np.uint16)
    return Volume(
        run_id="run",
        key=VolumeKey(t, p, c),
        pixels=read_only(pixels),
        voxel_size_um=(1.0, 0.5, 0.5),
        integrity=Integrity(indices, indices),
        closed="complete",
        state="confirmed",
        first_plane_ns=0,
        last_plane_ns=last_plane_ns,
        acquired_us=0,
    )


def restored(of: Volume, **changes: object) -> Restored:
    values: dict[str, object] = {
        "volume": of,
        "mean": read_only(of.pixels.astype(np.float32)),
        "laplace_scale": None,
        "disagreement": None,
        "voxel_size_um": of.voxel_size_um,
        "low": 0.0,
        "high": 1.0,
        "model": ModelIdentity("tiny", "0" * 64),
    }
    return Restored(**(values | changes))
