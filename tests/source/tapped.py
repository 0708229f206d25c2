"""A tap as a script uses it, and what its daemon gets: planes that carry their number, brought and drained."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from care_live.images import (
    Frame,
    RunEnded,
    SourceEvent,
)
from care_live.source.remote import Remote
from care_live.source.tap import Tap
from tests.make.runs import free_ports

SHAPE = (32, 48)


def events(n_t: int = 4, n_z: int = 5) -> list[dict]:
    return [{"axes": {"time": t, "z": z}, "z": 0.5 * z} for t in range(n_t) for z in range(n_z)]


def image(number: int) -> np.ndarray:
    """Return pixels that carry their number."""
    return np.full(SHAPE, number, np.uint16)


def bring(tapped: Tap, planned: list[dict], *, pause_s: float = 0.0, first: int = 0) -> None:
    """Call the tap as pycromanager does: from a thread of its own that ends with the acquisition."""

    def run() -> None:
        for number, event in enumerate(planned, start=first):
            time.sleep(pause_s)
            tapped(image(number), {"Axes": event["axes"], "Exposure": 10.0, "PixelSize_um": 0.25})

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def drain(remote: Remote, *, within_s: float = 60.0) -> list[SourceEvent]:
    """Return all events up to the end of the run."""
    got: list[SourceEvent] = []
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        event = remote.next_event(0.2)
        if event is not None:
            got.append(event)
        if isinstance(event, RunEnded):
            return got
    pytest.fail(f"no end within {within_s} s; got {[type(event).__name__ for event in got]}")


def frames(got: list[SourceEvent]) -> list[Frame]:
    return [event for event in got if isinstance(event, Frame)]


def over(tapped: Tap, within_s: float = 60.0) -> bool:
    """Wait for the tap's own thread."""
    until = time.monotonic() + within_s
    while not tapped.feed.is_over() and time.monotonic() < until:
        time.sleep(0.01)
    return tapped.feed.is_over()


def unused_address() -> str:
    return f"tcp://127.0.0.1:{free_ports(1)[0]}"
