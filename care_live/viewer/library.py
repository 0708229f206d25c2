"""All volumes that a watcher can show: the newest from memory, the older ones from the store."""

from __future__ import annotations

from dataclasses import dataclass, replace

from care_live.images import VolumeKey
from care_live.viewer.history import History
from care_live.viewer.shelf import Shelf
from care_live.viewer.shown import RunInfo, Shown


@dataclass(frozen=True, slots=True)
class Library:
    """A shelf of live volumes, and the history of the run where its directory can be read."""

    shelf: Shelf
    history: History | None = None

    def known(self) -> tuple[VolumeKey, ...]:
        """Return all volumes known by now, sorted."""
        stored = self.history.known() if self.history else ()
        return tuple(sorted({*stored, *self.shelf.known()}))

    def newest(self, position: int | None = None) -> VolumeKey | None:
        """Return the newest volume: live where there is one, else the last of the store."""
        live = self.shelf.newest(position)
        if live is not None or self.history is None:
            return live
        return max((key for key in self.history.known() if position in (None, key.p)), default=None)

    def at(self, t: int, position: int) -> tuple[Shown, ...]:
        """Return the volumes of all channels of one time point, by channel; empty when there are none."""
        keys = {key for key in self.shelf.known() if (key.t, key.p) == (t, position)}
        if not keys and self.history:
            keys = {key for key in self.history.known() if (key.t, key.p) == (t, position)}
        found = (self._get(key) for key in sorted(keys))
        return tuple(shown for shown in found if shown is not None)

    @property
    def info(self) -> RunInfo:
        """What is known of the run: the wire tells its start, the store also the network's card."""
        live = self.shelf.info
        stored = self.history.info() if self.history else RunInfo()
        if not live.run_id:
            return stored
        if live.run_id != stored.run_id or not stored.card:
            return live
        return replace(stored, ended=live.ended)

    def _get(self, key: VolumeKey) -> Shown | None:
        live = self.shelf.get(key)
        if live is not None or self.history is None:
            return live
        return self.history.get(key)
