"""How raw planes are packed: small, or with little work for the processors.

All three are Blosc, of which each chunk says itself how it was packed. So the codec may change from volume to volume of
one image, whose metadata name what its first volume had, and every Zarr reader reads all of them.

Measured for planes of 2048 x 2048 of photon noise, 120 counts, processor time a plane with all that the store does
besides, two cores at load 12: *zstd* 10.4 ms; *lz4* with bits shuffled 5.5 ms; *none* 8.4 ms, since there is more to be
written. The size of such planes, by their mean in counts: zstd 27 % at 20, 35 % at 120, 55 % at 1000; lz4 33 %, 50 %,
63 %.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

logger = logging.getLogger(__name__)

RawCodec: TypeAlias = Literal["zstd", "lz4", "none"]

BLOSC: dict[RawCodec, dict[str, Any]] = {
    "zstd": {"cname": "zstd", "clevel": 1, "shuffle": "shuffle"},
    "lz4": {"cname": "lz4", "clevel": 1, "shuffle": "bitshuffle"},
    "none": {"cname": "lz4", "clevel": 0, "shuffle": "noshuffle"},
}
"""Level 0 is Blosc's own copy."""
IN_METADATA: RawCodec = "zstd"
"""The codec that an image's metadata name."""
_BUSY, _IDLE = 0.3, 0.12
"""Part of the time that the store works: above the first it needs less work, below the second it may pack better."""
_LOADED, _FREE = 1.0, 0.6
"""Processes that want to run, for each core: the same for the whole machine."""
_WEIGHT = 0.5
"""Of the newest volume in what is measured."""


def load_per_core() -> float:
    """Return how many processes want to run, for each core, over the last minute; 0 where the system doesn't say."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


class CodecPicker:
    """Picks the codec of the next raw volume by what the volumes before cost.

    Parameters
    ----------
    wanted : *auto* picks zstd and lz4 by load; each other one is kept
    """

    def __init__(
        self,
        wanted: Literal["auto", "zstd", "lz4", "none"],
        *,
        clock: Callable[[], float] = time.monotonic,
        load: Callable[[], float] = load_per_core,
    ) -> None:
        self._is_auto = wanted == "auto"
        self._clock, self._load = clock, load
        self._codec: RawCodec = "zstd" if wanted == "auto" else wanted
        self._ended_at: float | None = None
        self._busy = 0.0
        self._disk_part = 0.0

    def pick(self) -> RawCodec:
        """Return the codec for a volume that is to be stored now."""
        if not self._is_auto:
            return self._codec
        picked, load = self._picked(self._load())
        if picked != self._codec:
            logger.info(
                "raw codec=%s store_busy=%.0f %% of_it_disk=%.0f %% load=%.1f",
                picked, 100 * self._busy, 100 * self._disk_part, load,
            )  # fmt: skip
        self._codec = picked
        return picked

    def _picked(self, load: float) -> tuple[RawCodec, float]:
        if self._busy > _BUSY and self._disk_part > 0.5:
            return "zstd", load  # the disk is what takes the time: fewer bytes help
        if self._busy > _BUSY or load > _LOADED:
            return "lz4", load
        if self._busy < _IDLE and load < _FREE:
            return "zstd", load
        return self._codec, load

    def note(self, *, packing_s: float, disk_s: float) -> None:
        """Learn what a volume cost: packed and written, then waited for until it was on the disk."""
        now, took_s = self._clock(), packing_s + disk_s
        since_s = took_s if self._ended_at is None else max(now - self._ended_at, took_s)
        is_first, self._ended_at = self._ended_at is None, now
        if is_first:
            return  # it is not known how often volumes come
        self._busy += _WEIGHT * (took_s / max(since_s, 1e-9) - self._busy)
        self._disk_part += _WEIGHT * (disk_s / max(took_s, 1e-9) - self._disk_part)
