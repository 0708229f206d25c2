"""A running Micro-Manager: which acquisitions its window runs, one after the other.

Not found, and not seen anywhere, is an acquisition that begins and ends between two looks if no window shows its images
or its window is closed at once; where it was saved beside others, their numbers on the disk show it, and that is said.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from care_live.config import StudioConfig
from care_live.errors import SourceError, StageError
from care_live.live_frame import LatestFrame
from care_live.source.java_bridge import JavaBridge, JavaError, JavaObject, UnansweredError, is_open
from care_live.source.studio_acquisitions import NamesAcquisitions, StudioAcquisitions, WindowAcquisition
from care_live.source.studio_images import StudioImages, count
from care_live.source.studio_live import StudioLive

logger = logging.getLogger(__name__)

_RETRY_S = 1.0
_TURN_S = 0.01
_LOOK_S = 0.25
"""How often a new acquisition is looked for."""
_REST = 1.0
"""Of the time that a frame of Live took: at 2048 x 2048 67 to 103 ms, in which the window's own Live is slower."""
_CLOSE_S = 30.0
_MAX_WAITING = 64
_ADVICE = "start it and tick Tools > Options > Run server on port 4827"
_HELD = "another program has this port, or Micro-Manager is busy or shows a question"


class AcquisitionProgress(NamedTuple):
    """How far an acquisition is."""

    is_running: bool
    is_paused: bool
    is_closed: bool
    """Micro-Manager adds no image any more."""
    n_images: int


@dataclass(frozen=True, slots=True)
class _Handles:
    """The objects of one connection."""

    studio: JavaObject
    names: NamesAcquisitions
    data: JavaObject
    live: StudioLive

    @property
    def engine(self) -> JavaObject:
        return self.names.engine


class StudioWindow:
    """Watches one Micro-Manager in a thread of its own, over all its restarts.

    An acquisition that runs when the window is first seen is given out, from its first plane; one that had ended is
    not.
    All later ones are kept until they are fetched: a short one may end while the run before it is still being restored.

    Parameters
    ----------
    answer_s : how long Micro-Manager may take to answer
    """

    def __init__(self, config: StudioConfig, *, answer_s: float = 10.0) -> None:
        self._port = config.port
        self._bridge = JavaBridge(config.port, answer_s=answer_s)
        self._handles: _Handles | None = None
        self._changing = threading.RLock()
        """Held while a connection is made or given up."""
        self._acquisitions = StudioAcquisitions(self._bridge)
        self._found: deque[WindowAcquisition] = deque()
        """What this look has found."""
        self._waiting: deque[WindowAcquisition] = deque()
        self._tried_at, self._looked_at = -_RETRY_S, -_LOOK_S
        self._live_at_s = 0.0
        """When the next frame of Live may be taken."""
        self._logged = self._live_fault = ""
        self._closing = threading.Event()
        self.seen = threading.Event()
        """Micro-Manager was seen: what it acquires from now on is given out."""
        self.live = LatestFrame()
        """The newest frame of the window's Live, or of a snap."""
        self._thread = threading.Thread(target=self._main, name="Micro-Manager's window")
        self._thread.start()

    # -- what another thread may call --------------------------------------------------------------------------------

    @property
    def is_gone(self) -> bool:
        """Whether the program has ended, or has closed its server."""
        return not is_open(self._port)

    def next_acquisition(self) -> WindowAcquisition | None:
        """Return the oldest acquisition that was not given out before; None: there is none now."""
        return self._waiting.popleft() if self._waiting else None

    def progress(self, acquisition: WindowAcquisition) -> AcquisitionProgress:
        """Return how far an acquisition is.

        Raises
        ------
        SourceError
            Micro-Manager does not answer, or answers with an error.
        """
        engine = self._connected().engine
        is_closed = bool(self._bridge.call(acquisition.store, "isFrozen"))
        is_running = not is_closed and bool(self._bridge.call(engine, "isAcquisitionRunning"))
        is_paused = is_running and bool(self._bridge.call(engine, "isPaused"))
        return AcquisitionProgress(is_running, is_paused, is_closed, count(self._bridge, acquisition.store))

    def images(self, acquisition: WindowAcquisition) -> StudioImages:
        """Open the images that an acquisition has in Micro-Manager's memory.

        Raises
        ------
        SourceError
            Micro-Manager does not answer.
        """
        return StudioImages(self._bridge, self._connected().data, acquisition.store, title=acquisition.title)

    def find_again(self, acquisition: WindowAcquisition, images: StudioImages | None) -> bool:
        """Go on behind a break of the connection; return whether Micro-Manager still has the acquisition.

        Raises
        ------
        UnansweredError
            Micro-Manager does not answer.
        """
        found = self._acquisitions.find(self._connected().names, acquisition)
        if found is None:
            return False
        acquisition.store = found
        if images is not None:
            images.reopen(self._connected().data, found)
        return True

    def release(self, acquisition: WindowAcquisition) -> None:
        """Let Micro-Manager forget that we know an acquisition."""
        self._bridge.release(acquisition.store)

    def lose(self) -> None:
        """Connect anew: a call was not answered."""
        with self._changing:
            self._handles = None

    def close(self) -> None:
        """End the thread.

        Raises
        ------
        StageError
            It does not end in time.
        """
        self._closing.set()
        self.live.close()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            raise StageError(f"the thread at Micro-Manager's server did not end within {_CLOSE_S:g} s")
        self._bridge.close()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _main(self) -> None:
        while not self._closing.is_set():
            try:
                if self._is_connected():
                    self._look()
                    self._show_live()
            except SourceError as error:
                self.lose()
                self._log_once(f"waiting for Micro-Manager: {error}")
            self._closing.wait(_TURN_S)
        self._forget_all()

    def _forget_all(self) -> None:
        for acquisition in (*self._found, *self._waiting):
            self.release(acquisition)
        if self._handles is not None:
            self._handles.live.release()
            for one in (*self._handles.names, self._handles.data, self._handles.studio):
                self._bridge.release(one)

    def _show_live(self) -> None:
        began_s = time.monotonic()
        if not self.live.is_wanted or began_s < self._live_at_s:
            return
        try:
            frame = self._connected().live.newest()
        except JavaError as error:  # the camera is being set up, or gives colours
            if str(error) != self._live_fault:
                logger.warning("Live is not shown: %s", error)
            self._live_fault = str(error)
            return
        if frame is not None:
            self.live.put(frame)
            self._live_at_s = time.monotonic() + _REST * (time.monotonic() - began_s)

    def _look(self) -> None:
        """Note new acquisitions; of those before the first look, only one that still runs."""
        if time.monotonic() - self._looked_at < _LOOK_S:
            return
        self._looked_at = time.monotonic()
        self._found.extend(self._acquisitions.new(self._connected().names))
        while self._found:
            is_wanted = self.seen.is_set() or self.progress(self._found[0]).is_running
            found = self._found.popleft()
            if is_wanted:
                self._keep(found)
            else:
                self.release(found)
        self.seen.set()
        self._log_once(f"connected to Micro-Manager on port {self._port}: what its window acquires is restored")

    def _keep(self, found: WindowAcquisition) -> None:
        """Let an acquisition wait until the runs before it are over."""
        if found.missed:
            logger.warning("acquisitions missed n=%d, not restored: %s", len(found.missed), ", ".join(found.missed))
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append(found)
        else:
            logger.warning("acquisition left out title=%s: %d others wait", found.title, _MAX_WAITING)
            self._waiting[-1].add_missed((*found.missed, found.folder.name if found.folder else found.title))
            self.release(found)

    def _connected(self) -> _Handles:
        with self._changing:
            if self._handles is None:
                raise UnansweredError(f"there is no connection to Micro-Manager on port {self._port}")
            return self._handles

    def _is_connected(self) -> bool:
        """Connect where there is no connection; say once what is missing."""
        with self._changing:
            if self._handles is not None:
                return True
            if time.monotonic() - self._tried_at < _RETRY_S:
                return False
            self._tried_at = time.monotonic()
            try:
                studio = self._bridge.open()
                names = NamesAcquisitions(
                    *(self._bridge.get(studio, one) for one in ("getAcquisitionEngine", "displays"))
                )
                data, live = self._bridge.get(studio, "data"), StudioLive(self._bridge, studio)
                self._handles = _Handles(studio, names, data, live)
            except SourceError as error:
                if self.is_gone:
                    self._log_once(f"waiting for Micro-Manager: {error}; {_ADVICE}")
                else:
                    self._log_once(f"waiting for Micro-Manager: {error}; {_HELD}", logging.WARNING)
                return False
        return True

    def _log_once(self, what: str, level: int = logging.INFO) -> None:
        if what != self._logged:
            logger.log(level, "%s", what)
        self._logged = what
