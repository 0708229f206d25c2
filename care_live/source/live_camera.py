"""What a Micro-Manager core sees now, in Live or after a snap; no frame is taken away from those who show them.

The core's circular buffer is only looked at (``getLastImageMD``); ``popNextImage`` would take the frame. The methods of
pymmcore (``snapImage``) and of pycromanager's Python backend (``snap_image``) serve alike.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from care_live.errors import SourceError
from care_live.images import read_only
from care_live.imports import need
from care_live.live_frame import LiveConditions, LiveFrame, LivePixels

logger = logging.getLogger(__name__)

LiveCore: TypeAlias = Any
"""CMMCorePlus, a pymmcore core, or pycromanager's core of its Python backend."""

_POLLS_A_FRAME = 5
_SHORTEST_POLL_S, _LONGEST_POLL_S = 0.001, 0.05


class LaserProperty(NamedTuple):
    """The device property that is the laser's power."""

    device: str
    name: str


class LiveCamera:
    """Looks at one core from one thread; `on_snap` is called in the thread that snapped.

    Parameters
    ----------
    core : of any of the spellings
    laser : where the power of the light is to be read; None: not known
    on_snap : called when a snapped image can be had from `newest`
    """

    def __init__(self, core: LiveCore, *, laser: LaserProperty | None, on_snap: Callable[[], None]) -> None:
        self._core, self._laser, self._on_snap = core, laser, on_snap
        self._metadata = need("pymmcore", extra="mm").Metadata
        self._guard = threading.Lock()
        self._snapped: LiveFrame | None = None
        self._seen: tuple[str, str] = ("", "")
        self._number, self._light_s = 0, 0.0
        self._rate = _Rate()
        self._undo = self._watch_snaps()
        self.is_wanted = False
        """A snap is read only where a frame is wanted: an acquisition snaps, too."""

    @property
    def poll_s(self) -> float:
        """How long to wait before looking again for a new frame."""
        exposure_s = self._exposure_ms() / 1000
        return min(max(exposure_s / _POLLS_A_FRAME, _SHORTEST_POLL_S), _LONGEST_POLL_S)

    @property
    def is_live(self) -> bool:
        """Whether the camera runs, and not for an acquisition of pymmcore-plus."""
        acquisition = getattr(self._core, "mda", None)
        return bool(self._do("isSequenceRunning")) and not (acquisition is not None and acquisition.is_running())

    def newest(self) -> LiveFrame | None:
        """Return the newest frame, once; None while the camera has taken no further one."""
        with self._guard:
            snapped, self._snapped = self._snapped, None
        if snapped is not None:
            return snapped
        return self._from_buffer() if self.is_live else None

    def close(self) -> None:
        """Take back what was put into the core."""
        self._undo()

    # -- the circular buffer ----------------------------------------------------------------------------------------

    def _from_buffer(self) -> LiveFrame | None:
        metadata = self._metadata()
        try:
            pixels = self._do("getLastImageMD", metadata)
        except (IndexError, RuntimeError):  # its buffer is empty yet
            return None
        now_ns = time.monotonic_ns()
        tags = {key: metadata.GetSingleTag(key).GetValue() for key in metadata.GetKeys()}
        stamp = (tags.get("ImageNumber", ""), tags.get("TimeReceivedByCore", ""))
        if stamp == self._seen:
            return None
        n_more = self._frames_since(self._seen[0], stamp[0])
        self._seen = stamp
        self._count(n_more)
        rate = self._rate.of(self._number, now_ns)
        return self._frame(pixels, now_ns, snapped=False, rate=rate)

    def _frames_since(self, before: str, now: str) -> int:
        """Return how many frames the camera took since the last look; a number that falls began anew."""
        if not (before.isdecimal() and now.isdecimal()):
            return 1
        return int(now) - int(before) if int(now) > int(before) else int(now) + 1

    # -- snaps ------------------------------------------------------------------------------------------------------

    def _watch_snaps(self) -> Callable[[], None]:
        """Notice snaps: by pymmcore-plus's event; pycromanager's core has none, so its method is wrapped."""
        events = getattr(self._core, "events", None)
        if events is not None:
            events.imageSnapped.connect(self._note_snap)
            return lambda: events.imageSnapped.disconnect(self._note_snap)
        name = "snap_image" if hasattr(self._core, "snap_image") else "snapImage"
        snap = getattr(self._core, name)

        def snap_and_note() -> None:
            snap()
            self._note_snap()

        setattr(self._core, name, snap_and_note)
        return lambda: delattr(self._core, name)

    def _note_snap(self, *_: object) -> None:
        """Keep the snapped image; nothing here may fail the thread that snapped."""
        if not self.is_wanted:
            return
        try:
            pixels = self._do("getImage")
            self._count(1)
            frame = self._frame(pixels, time.monotonic_ns(), snapped=True, rate=None)
        except Exception as error:  # noqa: BLE001 - a snap must never fail because it is watched
            logger.warning("snap is not shown: %s", error)
            return
        with self._guard:
            self._snapped = frame
        self._on_snap()

    # -- a frame and its conditions ---------------------------------------------------------------------------------

    def _frame(self, pixels: Any, now_ns: int, *, snapped: bool, rate: float | None) -> LiveFrame:
        conditions = LiveConditions(
            exposure_ms=self._exposure_ms(),
            laser=self._laser_power(),
            channel=self._channel(),
            z_um=self._height_um(),
            frames_per_s=rate,
            light_s=self._light_s,
            snapped=snapped,
            pixel_um=float(self._do("getPixelSizeUm")) or 1.0,
        )
        return LiveFrame(_counts(pixels), self._number, now_ns, conditions)

    def _count(self, n: int) -> None:
        power = self._laser_power()
        light_s = n * self._exposure_ms() / 1000 * (1.0 if power is None else power)
        with self._guard:
            self._number += n
            self._light_s += light_s

    def _exposure_ms(self) -> float:
        return float(self._do("getExposure"))

    def _laser_power(self) -> float | None:
        if self._laser is None:
            return None
        try:
            return float(self._do("getProperty", *self._laser))
        except (RuntimeError, ValueError):
            return None

    def _channel(self) -> str:
        try:
            group = str(self._do("getChannelGroup"))
            return str(self._do("getCurrentConfigFromCache", group))[:64] if group else ""
        except RuntimeError:
            return ""

    def _height_um(self) -> float | None:
        try:
            return float(self._do("getPosition")) if self._do("getFocusDevice") else None
        except RuntimeError:
            return None

    def _do(self, name: str, *arguments: Any) -> Any:
        """Call a method of the core by Micro-Manager's name, in the spelling that the core has."""
        method = getattr(self._core, name, None) or getattr(self._core, _snake(name))
        return method(*arguments)


class _Rate:
    """Frames per second over the last second or so."""

    def __init__(self) -> None:
        self._number, self._time_ns = 0, 0
        self._per_s: float | None = None

    def of(self, number: int, now_ns: int) -> float | None:
        since_s = (now_ns - self._time_ns) / 1e9
        if since_s > 1.0:
            self._per_s = (number - self._number) / since_s if self._time_ns and since_s < 3.0 else None
            self._number, self._time_ns = number, now_ns
        return self._per_s


def _counts(pixels: Any) -> LivePixels:
    """Return grey counts that nothing changes any more.

    Raises
    ------
    SourceError
        The image has colours, or numbers that are no counts.
    """
    image = np.asarray(pixels)
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise SourceError(f"the camera gives {image.dtype} images of shape {image.shape}; wanted grey, 8 or 16 bit")
    return read_only(image)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
