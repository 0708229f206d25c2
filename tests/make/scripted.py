"""A source whose frames, silences and hangs a test writes down; all behind it is real."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from care_live.config import Config
from care_live.daemon import run as daemon_run
from care_live.daemon.run import Daemon
from care_live.images import Frame, Plan, PlaneIndex, RunEnded, RunStarted, SourceEvent, Volume, VolumeKey, read_only
from tests.make import records
from tests.make.runs import config

SHAPE = (4, 128, 128)
"""An eighth of a MiB."""
Script = Iterator[SourceEvent | Callable[[], object] | None]
"""Events; None: nothing came; a function is called where the next event is asked for, and may block."""


def plan(keys: list[VolumeKey], shape: tuple[int, int, int] = SHAPE) -> Plan:
    channels = tuple(f"channel-{c}" for c in range(1 + max(key.c for key in keys)))
    return Plan({key: tuple(range(shape[0])) for key in keys}, shape[1:], channels=channels)


def pixels_of(key: VolumeKey, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return noise that tells its place."""
    pixels = np.random.default_rng([*key]).integers(90, 900, shape).astype(np.uint16)
    pixels[:, 0, 0] = key.t
    return pixels


def frames(
    key: VolumeKey,
    planes: int | None = None,
    *,
    run_id: str = "test",
    shape: tuple[int, int, int] = SHAPE,
    first: int = 0,
) -> Iterator[Frame]:
    """Yield the planes of a volume, or those from the first one up to a number of them."""
    for z, pixels in enumerate(pixels_of(key, shape)[:planes]):
        if z >= first:
            yield Frame(run_id, 0, PlaneIndex(*key, z), read_only(pixels), host_time_ns=0)


def volume(t: int = 0, p: int = 0, c: int = 0, **fields: object) -> Volume:
    """Return a small volume of a time point."""
    return records.volume(np.full((4, 8, 8), 100 + t, np.uint16), VolumeKey(t, p, c), **fields)


class Scripted:
    """Follows the `Source` protocol; `stop` ends nothing by itself unless it is *obedient*."""

    def __init__(self, script: Script, *, obedient: bool = True) -> None:
        self._script = script
        self._obedient = obedient
        self._stopped = threading.Event()
        self.closed = threading.Event()
        self._ended = False

    def next_event(self, timeout_s: float) -> SourceEvent | None:
        if self._ended:
            return None
        if self._stopped.is_set() and self._obedient:
            self._ended = True
            return RunEnded("aborted", "stopped")
        event = next(self._script, RunEnded("finished"))
        if callable(event):
            event()
            return None
        if event is None:
            self._stopped.wait(min(timeout_s, 0.005))
        self._ended = isinstance(event, RunEnded)
        return event

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self.closed.set()


def scripted_daemon(
    folder: Path, source: Scripted, monkeypatch: pytest.MonkeyPatch, **sections: dict[str, object]
) -> tuple[Daemon, Config]:
    """Return a daemon that is real but for its source."""
    settings = config(folder, {"kind": "virtual"}, **sections)
    monkeypatch.setattr(daemon_run, "open_remaining", lambda *_: source)
    return Daemon(settings, "test"), settings


def started(of: Plan) -> RunStarted:
    return RunStarted("test", of)
