"""A live frame as a volume of one plane, and its restoration under the same key."""

from __future__ import annotations

import time

from msgspec.structs import replace

from care_live.images import Integrity, Restored, Volume, VolumeKey, read_only
from care_live.live_frame import LIVE_RUN, LiveFrame


def volume_of(frame: LiveFrame, t: int) -> Volume:
    """Return a frame as a volume of one plane: what viewers and inference take."""
    now, plane = frame.conditions, frame.pixels[None]
    return Volume(
        run_id=LIVE_RUN,
        key=VolumeKey(t),
        pixels=read_only(plane),
        voxel_size_um=(1.0, now.pixel_um, now.pixel_um),
        integrity=Integrity((0,), (0,)),
        closed="complete",
        state="confirmed",
        first_plane_ns=frame.host_time_ns,
        last_plane_ns=frame.host_time_ns,
        acquired_us=time.time_ns() // 1000,
        exposure_ms=now.exposure_ms,
        live=now,
    )


def as_live(restored: Restored, volume: Volume) -> Restored:
    """Return a result under the key of the frame that is shown, without what only a run needs."""
    return replace(restored, key=volume.key, sources=(volume.key,), raw=volume, choice=None)
