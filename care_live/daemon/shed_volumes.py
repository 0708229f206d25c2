"""Restored volumes that the disk did not take: once it has space, they are restored again, after all others."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from care_live.daemon.run_metrics import Tally
from care_live.images import Restored, VolumeKey

if TYPE_CHECKING:  # the pipeline gives it here
    from care_live.daemon.worklist import Worklist

logger = logging.getLogger(__name__)


class ShedVolumes:
    """What is restored and not stored; safe from any thread.

    A volume is restored again once. What the disk refuses then is left to the next start, so that a disk that takes
    nothing does not keep a run from its end.

    Parameters
    ----------
    worklist : restores them again
    tally : is set to the number of those that are left out, for now or by this session
    """

    def __init__(self, worklist: Worklist, tally: Tally) -> None:
        self._worklist, self._tally = worklist, tally
        self._lock = threading.Lock()
        self._left_out: dict[VolumeKey, tuple[VolumeKey, ...]] = {}
        """The raw volumes that each was made of."""
        self._listed: dict[VolumeKey, tuple[VolumeKey, ...]] = {}
        """Those that are on the work list again, or on their way from there to the disk."""
        self._again: set[VolumeKey] = set()

    def add(self, restored: Restored, why: str) -> None:
        """Leave a volume out."""
        key = restored.key
        logger.warning("restored volume shed key=%s: %s", tuple(key), why)
        with self._lock:
            self._listed.pop(key, None)
            self._left_out[key] = restored.sources
            self._count()

    def stored(self, key: VolumeKey) -> None:
        """Note that the disk has a restored volume."""
        with self._lock:
            self._listed.pop(key, None)
            if self._left_out.pop(key, None) is not None:
                self._count()

    def restore_again(self) -> None:
        """Put them at the end of the work list, where this session still restores: the disk has space."""
        with self._lock:
            waiting = {key: sources for key, sources in self._left_out.items() if key not in self._again}
        sources = dict.fromkeys(source for group in waiting.values() for source in group)
        if not waiting or not self._worklist.last(*sources):
            return
        logger.info("shed volumes are restored again n=%d: the disk has space", len(waiting))
        with self._lock:
            self._again.update(waiting)
            self._left_out = {key: group for key, group in self._left_out.items() if key not in waiting}
            self._listed |= waiting
            self._count()
        self._tally.set(detail="")

    def end(self) -> None:
        """Nothing more is stored: what was to be restored again and was not is left out, too."""
        with self._lock:
            self._left_out |= self._listed
            self._listed.clear()
            self._count()

    def _count(self) -> None:
        self._tally.set(shed=len(self._left_out))
