"""One of each message, small and always the same."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from care_live.wire import arrays
from care_live.wire.arrays import Buffer
from care_live.wire.daemon_status import Status
from care_live.wire.messages import (
    Change,
    End,
    Fetch,
    Gap,
    Heartbeat,
    Hello,
    Message,
    Model,
    Newest,
    Refused,
    Replay,
    Skipped,
    Slab,
    Start,
    StreamChoice,
    View,
    VolumeMessage,
    WatcherRequest,
)
from care_live.wire.plans import PlanHeader, Stacks

SAID: dict[str, Any] = {"run": "worm-7", "session": "0123456789abcdef", "model": Model("worm3d", "5e" * 32)}
VOXEL_UM = (2.0, 0.5, 0.25)
RAW: NDArray[np.uint16] = np.arange(24, dtype=np.uint16).reshape(2, 3, 4) * 100
MEAN: NDArray[np.float32] = RAW.astype(np.float32) * np.float32(1.5)
SCALE: NDArray[np.float32] = np.sqrt(MEAN + 1).astype(np.float32)
DISAGREEMENT: NDArray[np.float32] = (MEAN / 4000).astype(np.float32)


def parted(golden: bytes) -> list[bytes]:
    """Return the parts of a golden file: of each its length in ASCII, a line feed, and its bytes."""
    parts = []
    while golden:
        length, _, rest = golden.partition(b"\n")
        parts.append(rest[: int(length)])
        golden = rest[int(length) :]
    return parts


def encoded(
    *, quantised: bool = False, codec: arrays.ArrayCodec = "none"
) -> tuple[tuple[arrays.ArrayHeader, ...], list[Buffer]]:
    pairs = [
        arrays.encode("raw", RAW, voxel_size_um=VOXEL_UM, codec=codec),
        arrays.encode("mean", MEAN, voxel_size_um=VOXEL_UM, quantised=quantised, codec=codec),
        arrays.encode("laplace_scale", SCALE, voxel_size_um=VOXEL_UM, quantised=quantised, codec=codec),
        arrays.encode("disagreement", DISAGREEMENT, voxel_size_um=VOXEL_UM, quantised=quantised, codec=codec),
    ]
    return tuple(header for header, _ in pairs), [buffer for _, buffer in pairs]


def volume(*, quantised: bool = False, codec: arrays.ArrayCodec = "none") -> tuple[VolumeMessage, list[Buffer]]:
    headers, buffers = encoded(quantised=quantised, codec=codec)
    message = VolumeMessage(
        **SAID,
        seq=12,
        key=(3, 0, 1),
        c_in=1,
        nth=4,
        state="provisional",
        arrays=headers,
        published_us=1_700_000_000_500_000,
        flags=("degraded", "missing_plane"),
        closed="deadline",
        expected=(0, 1),
        received=(0,),
        n_duplicates=1,
        worst_gap_ms=12.5,
        sequence_ids=(7,),
        low=101.5,
        high=4000.0,
        first_plane_us=1_000_000,
        last_plane_us=1_200_000,
        acquired_us=1_700_000_000_000_000,
        exposure_ms=10.0,
        infer_us=250_000,
        age_us=300_000,
    )
    return message, buffers


def slab() -> tuple[Slab, list[Buffer]]:
    header, buffer = arrays.encode("mean", MEAN, voxel_size_um=VOXEL_UM)
    said = Slab(
        **SAID,
        key=(3, 0, 1),
        state="provisional",
        arrays=(header,),
        published_us=1_700_000_000_400_000,
        z_first=6,
        n_planes=32,
    )
    return said, [buffer]


PLAN = PlanHeader(
    stacks=(Stacks(p=0, c=0, z=(0, 1, 2), t=((0, 9), (12, 12))),),
    shape_px=(3, 4),
    dtype="uint16",
    voxel_size_um=VOXEL_UM,
    channels=("DAPI",),
    positions=("well A1",),
    interval_s=2.5,
)

NOTES: dict[str, Message] = {
    "start": Start(**SAID, seq=0, plan=PLAN, summary={"objective": "40x", "µ": [1, 2.5, None]}, newest=7),
    "change": Change(**SAID, seq=13, key=(3, 0, 1), state="suspect", detail="sequence 7 lost a frame"),
    "skipped": Skipped(**SAID, seq=14, key=(4, 0, 1), reason="skipped", detail="restoration lags"),
    "end": End(**SAID, seq=15, reason="finished", detail="", n_delivered=320, n_refused=0),
    "heartbeat": Heartbeat(
        **SAID,
        newest=15,
        now_us=1_700_000_001_000_000,
        status=Status(
            planes_per_s=97.5, volumes_per_s=3.0, queue_depths={"restore": 2}, planes_lost=1, disk_s_left=3600.0
        ),
        n_watchers=3,
        broadcast_port=5791,
    ),
    "gap": Gap(**SAID, first=3, last=5, reason="forgotten", detail="too long ago"),
    "refused": Refused(**SAID, reason="role", detail="vera is viewer, this needs recorder"),
}

REQUESTS: dict[str, WatcherRequest] = {
    "hello": Hello(name="a script"),
    "newest": Newest(
        session=SAID["session"], after=11, credit=2, p=0, c=1, view=View(products=("mean",), quantised=True, level=2)
    ),
    "replay": Replay(session=SAID["session"], first=12, credit=4, view=View(codec="blosc2")),
    "fetch": Fetch(key=(3, 0, 1), view=View(origin_px=(0, 8, 8), shape_px=(1, 64, 64))),
}


def messages() -> dict[str, tuple[Message, list[Buffer]]]:
    """Every message, with its buffers."""
    whole: dict[str, tuple[Message, list[Buffer]]] = {name: (message, []) for name, message in NOTES.items()}
    whole["volume"] = volume()
    message, buffers = volume()
    choice = StreamChoice("whole", "not-sooner", {"streamed_ms": 22.5, "whole_ms": 24.0}, "")
    whole["volume-choice"] = msgspec.structs.replace(message, choice=choice), buffers
    whole["volume-quantised"] = volume(quantised=True)
    whole["slab"] = slab()
    return whole
