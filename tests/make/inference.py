"""Settings of a small inference process, and what is sent to it while a volume is recorded."""

from __future__ import annotations

from pathlib import Path

from care_live.config import RestoreConfig
from care_live.images import Volume
from care_live.open_volumes import PlanePlaced, VolumeOpened


def settings(network: Path | None, **more: float) -> RestoreConfig:
    return RestoreConfig.model_validate({"model": network, "provider": "cpu", "threads": 1} | more)


def planes_of(stack: Volume) -> tuple[VolumeOpened, list[PlanePlaced]]:
    opened = VolumeOpened(stack.key, stack.integrity.expected, stack.pixels.shape[1:], stack.pixels.dtype.name)
    return opened, [PlanePlaced(stack.key, z, plane) for z, plane in enumerate(stack.pixels)]
