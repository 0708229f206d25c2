"""The last seconds of Live, in memory; written as a run of their own when a person asks for it, and not before."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict

from msgspec.structs import replace

from care_live.config import LiveConfig, StoreConfig
from care_live.errors import CareLiveError, SourceError, StageError
from care_live.images import Plan, RunEnded, RunStarted, Volume, VolumeKey
from care_live.store import open_run

logger = logging.getLogger(__name__)

_MIB = 2**20
_CLOSE_S = 60.0


class RecentFrames:
    """The frames that Live has shown, bounded in seconds and bytes; safe from any thread.

    Parameters
    ----------
    live : seconds and memory
    store : where kept runs go
    """

    def __init__(self, live: LiveConfig, store: StoreConfig) -> None:
        self._live, self._store = live, store
        self._lock = threading.Lock()
        self._frames: deque[Volume] = deque()
        self._nbytes = 0
        self._writers: list[threading.Thread] = []
        self._names: set[str] = set()

    def add(self, volume: Volume) -> None:
        """Take a frame; the oldest ones leave."""
        with self._lock:
            self._frames.append(volume)
            self._nbytes += volume.pixels.nbytes
            oldest_ns = volume.last_plane_ns - int(self._live.keep_s * 1e9)
            while self._frames and (
                self._nbytes > self._live.keep_mib * _MIB or self._frames[0].last_plane_ns < oldest_ns
            ):
                self._nbytes -= self._frames.popleft().pixels.nbytes

    def keep(self, seconds: float) -> str:
        """Write the last seconds as a run, in a thread of its own; return that in words.

        Frames of another size, exposure or channel than the newest are left out, since a run has one plan.

        Raises
        ------
        SourceError
            Nothing was shown within this time.
        """
        with self._lock:
            frames = tuple(self._frames)
        newest_ns = frames[-1].last_plane_ns if frames else 0
        alike = [one for one in frames if _is_like(one, frames[-1]) and newest_ns - one.last_plane_ns <= seconds * 1e9]
        if not alike:
            raise SourceError(f"no frame of Live in the last {seconds:g} s: start Live first")
        run_id = self._name()
        writer = threading.Thread(target=self._write, args=(run_id, alike), name="care-live keep")
        self._writers.append(writer)
        writer.start()
        span_s = (newest_ns - alike[0].last_plane_ns) / 1e9
        return f"keeping {len(alike)} frames of the last {span_s:.1f} s as run {run_id}"

    def close(self) -> None:
        """Wait for what is being written.

        Raises
        ------
        StageError
            The disk is too slow.
        """
        until_s = time.monotonic() + _CLOSE_S
        for writer in self._writers:
            writer.join(max(0.0, until_s - time.monotonic()))
        if any(writer.is_alive() for writer in self._writers):
            raise StageError(f"frames of Live were not written within {_CLOSE_S:g} s")

    def _name(self) -> str:
        """Name a run after this second; a second one within it gets a number."""
        now = f"live-{time.strftime('%Y%m%d-%H%M%S')}"
        with self._lock:
            numbered = (f"{now}-{n}" for n in itertools.count(2))
            name = next(one for one in itertools.chain((now,), numbered) if one not in self._names)
            self._names.add(name)
        return name

    def _write(self, run_id: str, frames: Sequence[Volume]) -> None:
        """Write raw frames, one a time point; ``care-live run`` and ``restore`` find them as any other run's."""
        try:
            writer = open_run(self._store, _started(run_id, frames))
            try:
                for t, frame in enumerate(frames):
                    writer.write_raw(replace(frame, run_id=run_id, key=VolumeKey(t)))
                writer.note(RunEnded("finished", "kept from Live", n_delivered=len(frames)))
                writer.complete()
            finally:
                writer.close()
            logger.info("live kept run=%s frames=%d", run_id, len(frames))
        except CareLiveError as error:
            logger.error("live frames of run %s are not kept: %s", run_id, error)


def _is_like(one: Volume, other: Volume) -> bool:
    same = (one.pixels.shape, one.pixels.dtype, one.voxel_size_um) == (
        other.pixels.shape,
        other.pixels.dtype,
        other.voxel_size_um,
    )
    return same and _channel(one) == _channel(other) and one.exposure_ms == other.exposure_ms


def _channel(volume: Volume) -> str:
    return (volume.live.channel if volume.live else "") or "live"


def _started(run_id: str, frames: Sequence[Volume]) -> RunStarted:
    newest = frames[-1]
    plan = Plan(
        stacks={VolumeKey(t): (0,) for t in range(len(frames))},
        shape_px=(newest.pixels.shape[1], newest.pixels.shape[2]),
        dtype=newest.pixels.dtype.name,
        voxel_size_um=newest.voxel_size_um,
        channels=(_channel(newest),),
        positions=("live",),
    )
    conditions = [asdict(frame.live) for frame in frames if frame.live is not None]
    return RunStarted(run_id, plan, {"engine": "live", "conditions": conditions})
