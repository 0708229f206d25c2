"""What the window's Live and Snap show: the newest frame, looked at over the server; none is taken from the window."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import numpy as np

from care_live.images import read_only
from care_live.live_frame import LiveConditions, LiveFrame, LivePixels
from care_live.source.java_bridge import JavaBridge, JavaError, JavaObject

_LOOK_S = 0.4
"""How often it is asked whether Live is on, how it exposes, and whether there is a new snap."""
_RATE_S = 1.0


class StudioLive:
    """Looks at one Micro-Manager; of one thread.

    Parameters
    ----------
    bridge, studio : the connection, and what it gives first
    """

    def __init__(self, bridge: JavaBridge, studio: JavaObject) -> None:
        self._bridge = bridge
        self._manager, self._core = bridge.get(studio, "live"), bridge.get(studio, "core")
        self._is_live = False
        self._now = LiveConditions()
        self._looked_s = -_LOOK_S
        self._number, self._light_s = 0, 0.0
        self._image_number = -1
        self._snapped: str | None = None
        """When the image in the window was taken that was seen last; None: no look yet."""
        self._rate_from: tuple[int, float] = (0, 0.0)
        self._per_s: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether Live was on at the last look."""
        return self._is_live

    def newest(self) -> LiveFrame | None:
        """Return the newest frame, once; None while the camera has taken no further one.

        Raises
        ------
        UnansweredError
            Micro-Manager does not answer.
        """
        is_due = time.monotonic() - self._looked_s >= _LOOK_S
        if is_due:
            self._looked_s = time.monotonic()
            self._look()
        if self.is_live:
            return self._from_live()
        return self._from_snap() if is_due else None

    def release(self) -> None:
        """Let Micro-Manager forget what we know of it."""
        for one in (self._manager, self._core):
            self._bridge.release(one)

    def _look(self) -> None:
        before = self.is_live
        self._is_live = bool(self._bridge.call(self._manager, "isLiveModeOn"))
        if self.is_live and not before:
            self._number, self._light_s, self._image_number, self._per_s = 0, 0.0, -1, None
        if before and not self.is_live:
            self._snapped = None  # the last frame of Live stays in the window: it is no snap
        if self.is_live:
            self._now = self._conditions()

    def _conditions(self) -> LiveConditions:
        pixel_um = self._number_of("getPixelSizeUm")
        return LiveConditions(
            exposure_ms=self._number_of("getExposure"),
            channel=self._channel(),
            z_um=self._number_of("getPosition"),
            pixel_um=pixel_um if pixel_um else 1.0,
        )

    def _number_of(self, method: str) -> float | None:
        found = self._core_says(method)
        return float(found) if isinstance(found, int | float) else None

    def _channel(self) -> str:
        group = self._core_says("getChannelGroup")
        found = self._core_says("getCurrentConfigFromCache", str(group)) if group else ""
        return str(found or "")[:64]

    def _core_says(self, method: str, *arguments: str) -> object:
        """Ask the core what a device may not have; None: it has not."""
        try:
            return self._bridge.call(self._core, method, *arguments, types=["java.lang.String"] * len(arguments))
        except JavaError:
            return None

    # -- Live ---------------------------------------------------------------------------------------------------------

    def _from_live(self) -> LiveFrame | None:
        try:
            image = self._bridge.get(self._core, "getLastTaggedImage")
        except JavaError:  # its buffer is empty yet
            return None
        try:
            tags = json.loads(str(self._bridge.field(image, "tags")))
            number = int(tags.get("ImageNumber", -1))
            if number == self._image_number:
                return None
            pixels = _shaped(self._bridge.field(image, "pix"), int(tags["Height"]), int(tags["Width"]))
        finally:
            self._bridge.release(image)
        self._count(number - self._image_number if number > self._image_number else number + 1)
        self._image_number = number
        return self._frame(pixels, replace(self._now, frames_per_s=self._rate(), light_s=self._light_s))

    def _count(self, n: int) -> None:
        self._number += n
        self._light_s += n * (self._now.exposure_ms or 0.0) / 1000

    def _rate(self) -> float | None:
        number, since = self._rate_from
        if time.monotonic() - since > _RATE_S:
            is_recent = time.monotonic() - since < 3 * _RATE_S
            self._per_s = (self._number - number) / (time.monotonic() - since) if is_recent else None
            self._rate_from = self._number, time.monotonic()
        return self._per_s

    # -- snaps --------------------------------------------------------------------------------------------------------

    def _from_snap(self) -> LiveFrame | None:
        """Return the image of the *Snap/Live* window, where it is a new one."""
        display = self._bridge.call(self._manager, "getDisplay")
        if not isinstance(display, JavaObject):
            self._snapped = ""
            return None
        try:
            with self._bridge.lent(display, "getDataProvider") as provider:
                image = self._bridge.call(provider, "getAnyImage")
        finally:
            self._bridge.release(display)
        if not isinstance(image, JavaObject):
            return None
        try:
            return self._snap(image) if self._is_new(image) else None
        finally:
            self._bridge.release(image)

    def _is_new(self, image: JavaObject) -> bool:
        with self._bridge.lent(image, "getMetadata") as metadata:
            taken = str(self._bridge.call(metadata, "getReceivedTime"))
        before, self._snapped = self._snapped, taken
        return before not in (None, taken)

    def _snap(self, image: JavaObject) -> LiveFrame:
        size = [self._bridge.call(image, name) for name in ("getHeight", "getWidth")]
        pixels = _shaped(self._bridge.call(image, "getRawPixels"), *(int(str(one)) for one in size))
        conditions = self._conditions()
        self._now = conditions
        self._count(1)
        return self._frame(pixels, replace(conditions, snapped=True, light_s=self._light_s))

    def _frame(self, pixels: LivePixels, conditions: LiveConditions) -> LiveFrame:
        return LiveFrame(pixels, self._number, time.monotonic_ns(), conditions)


def _shaped(pixels: Any, height: int, width: int) -> LivePixels:
    """Return grey counts, (y, x).

    Raises
    ------
    JavaError
        They are in colour.
    """
    if not isinstance(pixels, np.ndarray) or pixels.size != height * width or pixels.dtype.itemsize > 2:
        raise JavaError("the window shows images in colour: wanted one grey channel of 8 or 16 bit")
    return read_only(pixels.reshape(height, width))
