"""Settings of a small inference process, and what is sent to it while a volume is recorded."""

from __future__ import annotations

from pathlib import Path

from care_live.config import RestoreConfig
from care_live.images import Frame, PlaneIndex, Volume
from care_live.open_volumes import VolumeOpened


def settings(network: Path | None, **more: object) -> RestoreConfig:
    return RestoreConfig.model_validate({"model": network, "provider": "cpu", "threads": 1} | more)


def frames_of(stack: Volume) -> list[Frame]:
    """Return the frames that a complete volume was made of."""
    return [Frame(stack.run_id, z, PlaneIndex(*stack.key, z), plane, 0) for z, plane in enumerate(stack.pixels)]


def planes_of(stack: Volume) -> tuple[VolumeOpened, list[Frame]]:
    opened = VolumeOpened(stack.key, stack.integrity.expected, stack.pixels.shape[1:], stack.pixels.dtype.name)
    return opened, frames_of(stack)
