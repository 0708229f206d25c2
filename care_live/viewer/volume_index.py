"""All volumes that a watcher can show: the newest from memory, the older ones from the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from care_live.images import VolumeKey
from care_live.live_frame import LIVE_RUN
from care_live.viewer.history import History
from care_live.viewer.live_cache import LiveCache
from care_live.viewer.trust_line import TrustSpan, spans
from care_live.viewer.view_records import RunInfo, ViewedVolume

ShownChannels: TypeAlias = tuple[ViewedVolume, ...]
"""All channels of one picture, by channel."""


@dataclass(frozen=True, slots=True)
class VolumeIndex:
    """The live cache, and the history of the run where its directory can be read."""

    cache: LiveCache
    history: History | None = None

    def known(self) -> tuple[VolumeKey, ...]:
        """Return all volumes known by now, sorted."""
        stored = self.history.known() if self.history else ()
        return tuple(sorted({*stored, *self.cache.known()}))

    def trust_spans(self) -> list[TrustSpan]:
        """Return the verdicts of the whole run over time; what came live goes before what is stored."""
        stored = self.history.trust_notes() if self.history else {}
        return spans(stored | self.cache.trust_notes(), self.info.channels)

    def newest(self, position: int | None = None) -> VolumeKey | None:
        """Return the newest volume: live where there is one, else the last of the store."""
        live = self.cache.newest(position)
        if live is not None or self.history is None:
            return live
        return max((key for key in self.history.known() if position in (None, key.p)), default=None)

    def following(
        self, position: int | None = None, *, plane_only: bool = False, z: int | None = None
    ) -> ShownChannels:
        """Return what a watcher sees who follows: the newest volumes and, over them, what is still being restored.

        Parameters
        ----------
        position : None: the newest
        plane_only : only plane `z` is shown, so nothing changes before that one is restored
        z : None: the middle one
        """
        if position is None and self.cache.info.run_id == LIVE_RUN:
            position = 0  # the whole field follows part by part, at a position of its own
        newest = self.newest(position)
        whole = self._newest_of_each_channel(newest)
        grown = self.cache.growing(position, plane_only=plane_only, z=z)
        if not grown or (newest is not None and grown[0].key.t < newest.t):
            return whole
        there = {shown.key.c for shown in grown}
        beside = self._newest_of_each_channel(self.newest(grown[0].key.p))
        beside = tuple(shown for shown in beside if shown.key.c not in there)
        return tuple(sorted((*grown, *beside), key=lambda shown: shown.key.c))

    def _newest_of_each_channel(self, newest: VolumeKey | None) -> ShownChannels:
        """Return the newest time point, and beside it the last volumes of channels that are still to come there."""
        if newest is None:
            return ()
        seen = {key.c: self.cache.get(key) for key in self.cache.newest_of_each_channel(newest.p)}
        seen |= {shown.key.c: shown for shown in self.at(newest.t, newest.p)}
        return tuple(shown for _, shown in sorted(seen.items()) if shown is not None)

    def at(self, t: int, position: int) -> ShownChannels:
        """Return the volumes of all channels of one time point, by channel; empty when there are none."""
        keys = {key for key in self.cache.known() if (key.t, key.p) == (t, position)}
        if not keys and self.history:
            keys = {key for key in self.history.known() if (key.t, key.p) == (t, position)}
        found = (self._get(key) for key in sorted(keys))
        return tuple(shown for shown in found if shown is not None)

    @property
    def info(self) -> RunInfo:
        """Facts of the run: its start from the wire, and from the store also the network's card."""
        live = self.cache.info
        stored = self.history.info() if self.history else RunInfo()
        if not live.run_id:
            return stored
        if live.run_id != stored.run_id or not stored.card:
            return live
        return replace(stored, ended=live.ended)

    def _get(self, key: VolumeKey) -> ViewedVolume | None:
        live = self.cache.get(key)
        if live is not None or self.history is None:
            return live
        return self.history.get(key)
