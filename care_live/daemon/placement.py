"""Which worker gets the planes of a volume that is being recorded: each in turn, so that all of them have work."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from care_live.images import VolumeKey
from care_live.open_volumes import VolumeOpened
from care_live.restore.channel_choice import ChannelChoice

if TYPE_CHECKING:
    from care_live.worker.client import RestoreProcess
    from care_live.worker.earlier_volumes import EarlierVolumes

_N_KNOWN = 256
"""Volumes whose worker is remembered; those that no stage asked for any more leave first."""


class Placement:
    """The intake's end of several workers; safe to use from every thread, and never waits for inference.

    Channels that a network reads together go to one worker. While one worker is being replaced, the others get the
    volumes that begin.

    Parameters
    ----------
    workers : started before the first volume
    """

    def __init__(self, workers: Sequence[RestoreProcess]) -> None:
        self._workers = tuple(workers)
        self._guard = threading.Lock()
        self._places: OrderedDict[VolumeKey, RestoreProcess] = OrderedDict()
        self._n_begun = 0
        self._channels: ChannelChoice | None = None

    def go_by(self, channels: ChannelChoice, earlier: EarlierVolumes) -> None:
        """Note which network reads which channels of the run that begins.

        Parameters
        ----------
        earlier : where volumes of the time points before are found
        """
        self._channels = channels
        for worker in self._workers:
            worker.arrivals.channels, worker.arrivals.earlier = channels, earlier

    def begin(self, opened: VolumeOpened) -> None:
        """Choose a worker at a volume's first plane, and let it start if it can; see `Arrivals.begin`."""
        with self._guard:
            worker = self._places.get(self._group(opened.key)) or self._next(opened.key)
        worker.arrivals.begin(opened)

    def worker_of(self, key: VolumeKey) -> RestoreProcess | None:
        """Return the worker that the planes of a volume went to; None: there was no such volume, or long ago."""
        with self._guard:
            return self._places.get(self._group(key))

    def forget(self, key: VolumeKey) -> None:
        """Forget a volume that is restored."""
        with self._guard:
            self._places.pop(self._group(key), None)

    def _next(self, key: VolumeKey) -> RestoreProcess:
        """Take the next worker that is ready and whose link keeps up; where there is none such, the next one."""

        def cannot(worker: RestoreProcess) -> tuple[bool, bool]:
            return not worker.supervisor.is_ready, worker.supervisor.is_full

        n_workers = len(self._workers)
        in_turn = [self._workers[(self._n_begun + i) % n_workers] for i in range(n_workers)]
        worker = min(in_turn, key=cannot)  # the first of those that are alike
        self._n_begun = self._workers.index(worker) + 1
        self._places[self._group(key)] = worker
        while len(self._places) > _N_KNOWN:
            self._places.popitem(last=False)
        return worker

    def _group(self, key: VolumeKey) -> VolumeKey:
        return key if self._channels is None else self._channels.group(key)
