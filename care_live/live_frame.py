"""What a camera sees outside any run: Live and Snap. The newest frame wins, and none is stored unless a person asks.

The thread that reads a camera *puts* frames, and the daemon *takes* the newest one when it has time for it::

    newest = LatestFrame()
    if newest.wait_wanted(0.2):  # in the thread that reads the camera: no frame is fetched in vain
        newest.put(LiveFrame(pixels, number, time.monotonic_ns(), LiveConditions(exposure_ms=10.0, channel="DAPI")))

A `care_live.source.Source` that has a `LatestFrame` as its ``live`` shows Live between its runs, and outlives them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

LIVE_RUN = "live"
"""Run id of what is shown outside any run; no store and no recorder keeps it."""
LIVE_POSITION = 1 << 20
"""Position under which inference learns the intensity range of Live, apart from those of runs."""

LivePixels: TypeAlias = NDArray[np.uint16] | NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class LiveConditions:
    """How a live frame was taken; None: the source does not know."""

    exposure_ms: float | None = None
    laser: float | None = None
    """In the device's own unit, such as per cent or mW."""
    channel: str = ""
    z_um: float | None = None
    """Height of the focus stage."""
    frames_per_s: float | None = None
    """Of the camera, also those frames that are not shown; None: a snap."""
    light_s: float = 0.0
    """Exposure time of all frames since Live began, times `laser` where that is known: the dose so far."""
    snapped: bool = False
    pixel_um: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class LiveFrame:
    """One exposure that belongs to no run."""

    pixels: LivePixels
    """Camera counts, (y, x), read-only."""
    number: int
    """Counts the frames of the camera since Live began, also those that were passed over."""
    host_time_ns: int
    """Monotonic clock of this machine when the frame was there."""
    conditions: LiveConditions = field(default_factory=LiveConditions)


class LatestFrame:
    """A place for one frame between the thread that reads a camera and the one that shows it; nothing waits in it.

    Parameters
    ----------
    on_wanted : called, in the thread that shows, when a frame is wanted; it must return at once
    """

    def __init__(self, on_wanted: Callable[[], None] = lambda: None) -> None:
        self._on_wanted = on_wanted
        self._changed = threading.Condition()
        self._frame: LiveFrame | None = None
        self._wanted = self._closed = False

    def take(self, timeout_s: float) -> LiveFrame | None:
        """Return a frame that was put after this call began; None: no frame came in time, or this place is closed."""
        with self._changed:
            self._frame, self._wanted = None, True
            self._changed.notify_all()
        self._on_wanted()
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._closed, timeout_s)
            self._wanted = False
            frame, self._frame = self._frame, None
            return frame

    def put(self, frame: LiveFrame) -> None:
        """Give a frame; it replaces one that was not taken. Never waits, from any thread."""
        with self._changed:
            self._frame = frame if self._wanted else None
            self._changed.notify_all()

    @property
    def is_wanted(self) -> bool:
        """Whether a frame is waited for now."""
        with self._changed:
            return self._wanted and self._frame is None and not self._closed

    def wait_wanted(self, timeout_s: float) -> bool:
        """Wait until a frame is wanted; False: none is within the time, or it is closed."""
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while not self._closed and not (self._wanted and self._frame is None):
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    return False
                self._changed.wait(left_s)
            return not self._closed

    def close(self) -> None:
        """Let every wait return."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
