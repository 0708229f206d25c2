"""Which intensity ranges volumes have taught, for several workers: measured before a volume is restored.

A range follows the volumes before it. To measure one takes a fraction of the time that its restoration takes, so it is
measured here when a worker takes it, and the next volume of its position need not wait until it is restored.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from care_live.config import NormaliseConfig
from care_live.errors import RestoreError
from care_live.images import Volume, VolumeKey
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore.geometry import gather
from care_live.restore.ranges import LearntRange, LearntRanges, choose_each, known_before

logger = logging.getLogger(__name__)

_NOTHING = LearntRange()


class SharedRanges:
    """What volumes teach, as one worker would learn it that restores them in their order; for every thread.

    Parameters
    ----------
    config : how a range follows
    """

    def __init__(self, config: NormaliseConfig) -> None:
        self._config = config
        self._guard = threading.Lock()
        self._learnt: LearntRanges = {}
        self._before: dict[VolumeKey, LearntRange] = {}
        """What was known before each volume that is measured and not restored yet."""

    @property
    def learnt(self) -> LearntRanges:
        with self._guard:
            return self._learnt

    def go_on_with(self, learnt: LearntRanges) -> None:
        """Go on with what another network has learnt; no volume is being restored."""
        with self._guard:
            self._learnt = learnt
            self._before.clear()

    def resume(self, spans: Mapping[tuple[int, int], Span]) -> LearntRanges:
        """Go on with the ranges, by position and channel, of a run that was interrupted; return them as learnt."""
        learnt = {place: LearntRange(span, self._config.lock_after_volumes) for place, span in spans.items()}
        with self._guard:
            self._learnt = {**self._learnt, **learnt}
        return learnt

    def know(self, keys: Sequence[VolumeKey]) -> bool:
        """Return whether volumes have a range that no other volume changes any more."""
        with self._guard:
            learnt = (self._learnt.get((key.p, key.c), _NOTHING) for key in keys)
            return all(known_before(one, self._config) is not None for one in learnt)

    def wait_for(self, key: VolumeKey) -> bool:
        """Return whether a volume that is being restored may still change the range of those behind it."""
        with self._guard:
            is_measured = key in self._before
        return not (is_measured or self.know([key]))

    def measure(self, card: ModelCard, volumes: Sequence[Volume]) -> bool:
        """Learn from a time point that is about to be restored; return whether others may have waited for that.

        Again, with the same volumes, it teaches nothing. What a network measures on upsampled volumes is left to its
        worker: they are several times as large, and the daemon's memory is not counted for them.
        """
        if card.upsampled != "raw-range":
            return False
        keys = [volume.key for volume in volumes]
        with self._guard:
            if all(key in self._before for key in keys):
                return False
            learnt = self._learnt
        if self.know(keys):
            return False
        try:
            chosen = choose_each(card, volumes, gather(volumes).histograms, learnt, config=self._config)
        except RestoreError as error:  # the network will refuse it for the same reason
            logger.debug("nothing learnt key=%s reason=%s", tuple(keys[0]), error)
            chosen = {}
        with self._guard:
            self._before |= {key: learnt.get((key.p, key.c), _NOTHING) for key in keys}
            self._learnt = {**self._learnt, **{place: one.memory for place, one in chosen.items()}}
        return True

    def before(self, volumes: Sequence[Volume]) -> LearntRanges:
        """Return what a worker is to know when it restores a time point."""
        with self._guard:
            own = {(one.key.p, one.key.c): self._before[one.key] for one in volumes if one.key in self._before}
            return {**self._learnt, **own}

    def restored(self, volumes: Sequence[Volume], learnt: LearntRanges) -> None:
        """Note that a worker has restored a time point, and what it knows now."""
        with self._guard:
            new = [one.key for one in volumes if self._before.pop(one.key, None) is None]
            places = {(key.p, key.c) for key in new}
            self._learnt = {**self._learnt, **{place: one for place, one in learnt.items() if place in places}}
