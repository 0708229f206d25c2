"""Live between runs: the newest frame goes through the network and to the screens; none waits, and none is stored.

::

    camera ─▶ LatestFrame ─▶ taking ─▶ restoring ─▶ publisher
                                └───── raw, when restoring lags ─▶

A frame is fetched when the network is free, so that it is the newest one then. While the network is busy with one
frame for longer than `live.lag_ms`, every further frame is shown as it came.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.live_keeping import RecentFrames
from care_live.daemon.live_volume import volume_of
from care_live.daemon.stage import Stage
from care_live.errors import CareLiveError
from care_live.images import Plan, Restored, RunStarted, Volume
from care_live.live_frame import LIVE_RUN, LatestFrame, LiveFrame
from care_live.publish.publisher import Publisher

logger = logging.getLogger(__name__)

_LOOK_S = 0.1
_STOP_S = 20.0
"""How long a volume in the network may take when a run begins."""
_PAUSE_S = 0.03
"""Between raw frames, of which a screen shows no more."""


class LiveRestorer(Protocol):
    """What Live needs of a restoration: a network, or a running average."""

    def show(self, frame: LiveFrame, t: int) -> tuple[Restored | Volume, ...]:
        """Return what is to be shown of a frame as time point t, at one position or more."""

    def raw(self, frame: LiveFrame, t: int) -> Volume:
        """Return the frame itself as time point t."""


class LiveShow:
    """Shows Live while `shown` is entered.

    Parameters
    ----------
    frames : where the source puts frames
    restorer : what restores them
    publisher, publishing : the publisher, and the bulkhead around every call into it
    recent : what may be kept when a person asks
    lag_s : how long a frame may be in the network before raw frames are shown
    """

    def __init__(
        self,
        frames: LatestFrame,
        restorer: LiveRestorer,
        *,
        publisher: Publisher,
        publishing: Bulkhead,
        recent: RecentFrames,
        lag_s: float,
    ) -> None:
        self._frames, self._restorer, self._publisher, self._publishing = frames, restorer, publisher, publishing
        self.recent, self._lag_s = recent, lag_s
        self._changed = threading.Condition()
        self._waiting: tuple[LiveFrame, int] | None = None
        self._busy = self._stopping = False
        self._given_s = 0.0
        self._t = 0
        self._shape_px: tuple[int, int] | None = None
        self.n_restored = self.n_raw = 0
        """Frames that were shown restored, and as they came."""

    @property
    def started(self) -> RunStarted:
        """What viewers receive in place of a run's start."""
        plan = Plan({}, self._shape_px or (1, 1), channels=("live",), positions=("live", "whole field"), endless=True)
        return RunStarted(LIVE_RUN, plan, {"live": True})

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show frames inside the block; at its end the network is free again."""
        self._stopping, self._shape_px = False, None
        stages = (Stage("live", self._take, self._end), Stage("live restore", self._restore, self._end))
        for stage in stages:
            stage.start()
        try:
            yield
        finally:
            self._end()
            for stage in stages:
                stage.join(_STOP_S)

    def _end(self, error: BaseException | None = None) -> None:
        """End both threads; the error of one of them was logged by its stage."""
        if error is not None:
            self._publishing.note(error)
        with self._changed:
            if self._waiting is not None:  # given, and not taken: nothing will free the network from it
                self._busy = False
            self._stopping, self._waiting = True, None
            self._changed.notify_all()

    # -- taking ---------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        while not self._stopping:
            self._wait_free()
            frame = self._frames.take(_LOOK_S)
            if frame is None or self._stopping:
                continue
            self._announce(frame)
            self._t += 1
            if not self._give(frame):
                self._show_raw(frame, self._t)
                self._pause(_PAUSE_S)

    def _wait_free(self) -> None:
        """Wait for the network, until it has had its frame for too long: then every further frame is shown raw."""
        with self._changed:
            left_s = self._given_s + self._lag_s - time.monotonic()
            self._changed.wait_for(lambda: not self._busy or self._stopping, max(0.0, left_s))

    def _pause(self, pause_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, pause_s)

    def _give(self, frame: LiveFrame) -> bool:
        """Give a frame to the network if that is free."""
        with self._changed:
            if self._busy:
                return False
            self._busy, self._waiting, self._given_s = True, (frame, self._t), time.monotonic()
            self._changed.notify_all()
            return True

    def _announce(self, frame: LiveFrame) -> None:
        """Tell viewers that Live begins, or that its frames have another size now."""
        shape_px = (frame.pixels.shape[0], frame.pixels.shape[1])
        if shape_px != self._shape_px:
            self._shape_px = shape_px
            with self._publishing:
                self._publisher.start(self.started)
            logger.info("live shape=%dx%d", *shape_px)

    # -- restoring ------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        while (given := self._next()) is not None:
            self._restore_one(*given)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> tuple[LiveFrame, int] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._stopping)
            given, self._waiting = self._waiting, None
            return given

    def _restore_one(self, frame: LiveFrame, t: int) -> None:
        try:
            shown = self._restorer.show(frame, t)
        except CareLiveError as error:
            logger.warning("live frame is shown as it came: %s", error)
            self._show_raw(frame, t)
            self._pause(self._lag_s)
            return
        self.n_restored += 1
        self.recent.add(volume_of(frame, t))
        for restored in shown:
            with self._publishing:
                self._publisher.publish(restored)

    def _show_raw(self, frame: LiveFrame, t: int) -> None:
        self.n_raw += 1
        self.recent.add(volume_of(frame, t))
        with self._publishing:
            self._publisher.publish(self._restorer.raw(frame, t))
