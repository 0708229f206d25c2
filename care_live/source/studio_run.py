"""One acquisition of Micro-Manager's window as a run: its server says what there is; memory or files give the pixels.

At 2048 x 2048 the server takes 67 to 103 ms for a plane and slows the acquisition down; a file that grows costs it
nothing. So images come over the server only where the acquisition is not saved to a disk that this machine can read.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from care_live.errors import SourceError
from care_live.images import RunEnded, SourceEvent, StillAcquiring
from care_live.source.frame_recorder import EndReason
from care_live.source.growing_folder import GrowingData, open_growing
from care_live.source.growing_run import GrowingRun
from care_live.source.java_bridge import UnansweredError
from care_live.source.studio_acquisitions import WindowAcquisition
from care_live.source.studio_images import StudioImages
from care_live.source.studio_window import AcquisitionProgress, StudioWindow

logger = logging.getLogger(__name__)

_PROGRESS_S = 0.5
_GONE_S = 5.0
"""A Micro-Manager whose port is closed for this long has ended."""
_SILENT_S = 60.0
"""A port that is open without an answer: Micro-Manager is busy, or a dialog of a script holds it."""
_FILES_S = 5.0
"""Some time after the first image its file must be there, if it can be read on this machine."""
_UNREAD_S = 10.0
"""How long what a closed acquisition holds may be unreadable: the last images may still be on their way to the disk."""


class StudioRun:
    """The events of one acquisition.

    Parameters
    ----------
    window : the running Micro-Manager
    acquisition : which one
    run_id : of the events
    """

    def __init__(
        self,
        window: StudioWindow,
        acquisition: WindowAcquisition,
        *,
        run_id: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run_id = run_id
        self._window, self._acquisition = window, acquisition
        self._clock = clock
        self._data: GrowingData | None = None
        self._run: GrowingRun | None = None
        self._ready: deque[SourceEvent] = deque()
        self._looked_at = -_PROGRESS_S
        self._last_sign = clock()
        self._lost_since: float | None = None
        self._files_due: float | None = None
        """When files must be there; None: Micro-Manager has no image yet."""
        self._was_paused = False

    def step(self) -> SourceEvent | None:
        """Return the next event; None while nothing happens. The last one is a `RunEnded`, also where no run began."""
        if self._ready:
            return self._ready.popleft()
        try:
            if self._lost_since is not None:
                self._find_again()
            if self._was_paused and self._is_due():  # also while images come one after the other
                self._progress()
            return self._read() or self._look_at_progress()
        except UnansweredError as error:
            return self._silent(error)
        except (SourceError, OSError) as error:
            return self.end("failed", str(error)) if self._clock() - self._last_sign > _UNREAD_S else None

    def end(self, reason: EndReason, detail: str = "") -> SourceEvent:
        """End the run; the events that are left come first."""
        if self._run is None or self._run.plan is None:
            return RunEnded(reason, detail)
        self._ready.extend(self._run.end(reason, detail))
        return self._ready.popleft()

    def close(self) -> None:
        """Let Micro-Manager forget that we know the acquisition."""
        if self._data is not None:
            self._data.close()
        if not isinstance(self._data, StudioImages):
            self._window.release(self._acquisition)

    def _open(self) -> GrowingData | None:
        """Return where the images come from; None: nothing was written yet."""
        acquisition = self._acquisition
        if acquisition.folder is None:
            return self._window.images(acquisition)
        found = open_growing(acquisition.folder) if acquisition.folder.is_dir() else None
        if found is not None or not self._is_elsewhere(acquisition):
            return found
        logger.warning("planes come over Micro-Manager's server, slower: %s is not to be read here", acquisition.folder)
        return self._window.images(acquisition)

    def _is_elsewhere(self, acquisition: WindowAcquisition) -> bool:
        """Whether files that should be there for some time can't be found: Micro-Manager writes to another disk."""
        if self._files_due is None and self._window.progress(acquisition).n_images:
            self._files_due = self._clock() + _FILES_S
        return self._files_due is not None and self._clock() > self._files_due

    def _read(self) -> SourceEvent | None:
        """Return the next event of an image."""
        if self._data is None:
            self._data = self._open()
            self._run = GrowingRun(self._data, run_id=self._run_id) if self._data else None
        run = self._run
        if run is None or not (run.waits or run.look()):
            return None
        self._ready.extend(run.read())
        self._last_sign = self._clock()
        return self._ready.popleft() if self._ready else None

    # -- how far it is -----------------------------------------------------------------------------------------------

    def _look_at_progress(self) -> SourceEvent | None:
        """Nothing new: has the acquisition ended, or does it wait?"""
        if self._run is not None and self._run.has_all:
            return self.end("finished")
        if not self._is_due():
            return None
        progress = self._progress()
        if not progress.is_closed:
            return StillAcquiring() if self._run is not None and self._run.plan is not None else None
        return self._closed(progress)

    def _is_due(self) -> bool:
        return self._clock() - self._looked_at >= _PROGRESS_S

    def _progress(self) -> AcquisitionProgress:
        self._looked_at = self._clock()
        progress = self._window.progress(self._acquisition)
        self._say_paused(progress)
        return progress

    def _closed(self, progress: AcquisitionProgress) -> SourceEvent | None:
        """End a run once every image of a closed acquisition was read."""
        run = self._run
        n_read = run.n_delivered + run.n_dropped if run else 0
        if n_read < progress.n_images:
            late = self._clock() - self._last_sign > _UNREAD_S
            says = f"{n_read} of {progress.n_images} images of the acquisition could be read"
            return self.end("failed", says) if late else None
        if run is None or run.plan is None:
            return self.end("failed", "the acquisition ended without an image")
        if run.n_planned > run.n_delivered:
            return self.end("aborted", f"it was ended in the window after {run.n_delivered} of {run.n_planned} planes")
        return self.end("finished")

    def _say_paused(self, progress: AcquisitionProgress) -> None:
        if progress.is_paused != self._was_paused:
            n = self._run.n_delivered if self._run else 0
            logger.info("acquisition %s planes=%d", "paused" if progress.is_paused else "goes on", n)
        self._was_paused = progress.is_paused

    # -- a Micro-Manager that does not answer ------------------------------------------------------------------------

    def _silent(self, error: UnansweredError) -> SourceEvent | None:
        """Wait for an answer; files are read to their end, also behind the end of the program."""
        self._window.lose()
        if self._lost_since is None:
            self._lost_since = self._clock()
            logger.warning("connecting anew: %s", error)
        silent_s = self._clock() - self._lost_since
        limit_s = _GONE_S if self._window.is_gone else _SILENT_S
        if silent_s < limit_s:
            return self._from_files()
        came = (
            f"{self._run.n_delivered} of {self._run.n_planned or 'an unknown number of'} planes came"
            if self._run
            else ""
        )
        gone = (
            "Micro-Manager has ended" if self._window.is_gone else f"Micro-Manager did not answer for {silent_s:.0f} s"
        )
        return self._from_files() or self.end("failed", "; ".join(filter(None, (gone, came))))

    def _from_files(self) -> SourceEvent | None:
        if self._run is None or isinstance(self._data, StudioImages):
            return None
        try:
            return self._read()
        except (SourceError, OSError):
            return None

    def _find_again(self) -> None:
        images = self._data if isinstance(self._data, StudioImages) else None
        if not self._window.find_again(self._acquisition, images):
            raise SourceError("Micro-Manager was started anew, or has dropped the acquisition")
        self._lost_since = None
        logger.info("connected again to Micro-Manager")
