"""A volume whose planes come one by one, as inference sees it."""

from __future__ import annotations

import numpy as np

from care_live.images import Restored, VolumeKey
from care_live.percentiles import Span
from care_live.reasons import Choice
from care_live.restore.engine import Engine
from care_live.restore.in_flight import PlaneProgress
from care_live.restore.repair import Maps
from care_live.restore.volume_stream import VolumeStream
from tests.make.networks import volume

SPAN = Span(100.0, 300.0)


def begun(
    engine: Engine, pixels: np.ndarray, maps: Maps, *, t: int = 0, plane_s: float = 10.0
) -> tuple[VolumeStream | None, Choice]:
    """Let every plane come; return the stream, and what was decided at the first plane."""
    key = VolumeKey(t)
    choice = engine.streams.begin(key, [pixels], [SPAN], maps, plane_s=plane_s, progress=PlaneProgress()).choice
    assert choice is not None
    found = engine.streams.in_flight.complete(key)
    assert found is not None
    if found.held is not None:
        for z in range(len(pixels)):
            found.held.place(0, z)
    return found.held, choice


def recorded(engine: Engine, pixels: np.ndarray, *, t: int = 0, plane_s: float = 10.0) -> tuple[Restored, Choice]:
    """Restore a volume whose planes came one by one; return what became of its stream, too."""
    maps = engine.empty(pixels.shape)
    stream, choice = begun(engine, pixels, maps, t=t, plane_s=plane_s)
    (restored,) = engine.restore([volume(pixels, t=t)], maps, stream=stream)
    if stream is None:
        return restored, choice
    if stream.out_of_memory:
        engine.streams.make_smaller()
    return restored, stream.choice
