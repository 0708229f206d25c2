"""Raw volumes of a run that are kept, or found again, for networks that read earlier time points."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias
from weakref import WeakValueDictionary

from care_live.images import Volume, VolumeKey
from care_live.restore import past

FindEarlier: TypeAlias = Callable[[int], Mapping[VolumeKey, Volume]]
"""Returns the volumes there are of as many time points before one that is restored."""

_FIRST_LIMIT_BYTES = 2**28


def find_none(n_past: int) -> Mapping[VolumeKey, Volume]:
    """Return no earlier volume: there is no run that they could be of."""
    return {}


class EarlierVolumes:
    """The last volumes of each stage position and channel, within a limit of memory; safe to use from every thread.

    Volumes that are in memory for another reason, such as those that wait for the disk, are found, too. What is neither
    kept nor waits is in the store by then.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._limit_bytes = _FIRST_LIMIT_BYTES
        self._kept: OrderedDict[VolumeKey, Volume] = OrderedDict()
        self._n_bytes = 0
        self._in_memory: WeakValueDictionary[VolumeKey, Volume] = WeakValueDictionary()

    def begin_run(self, limit_bytes: int) -> None:
        """Forget the volumes of the run before.

        Parameters
        ----------
        limit_bytes : of all volumes that are kept
        """
        with self._guard:
            self._kept.clear()
            self._in_memory.clear()
            self._n_bytes, self._limit_bytes = 0, limit_bytes

    @property
    def n_bytes(self) -> int:
        """Of the volumes that are kept."""
        with self._guard:
            return self._n_bytes

    def keep(self, volume: Volume, n_past: int) -> None:
        """Keep a volume for the next ones of its position and channel.

        Parameters
        ----------
        n_past : earlier time points that its network reads; of 0 it is found while it is in memory for another
            reason: a network that takes over reads it with the next one
        """
        with self._guard:
            self._in_memory[volume.key] = volume
            self._drop(volume.key)
            if n_past < 1:
                return
            self._kept[volume.key] = volume
            self._n_bytes += volume.pixels.nbytes
            self._drop(volume.key._replace(t=volume.key.t - n_past))
            while self._n_bytes > self._limit_bytes:
                self._drop(next(iter(self._kept)))

    def before(
        self, keys: Sequence[VolumeKey], n_past: int, stored: Callable[[VolumeKey], Volume | None] = lambda key: None
    ) -> dict[VolumeKey, Volume]:
        """Return the volumes of earlier time points that there are.

        Parameters
        ----------
        keys : of one time point, one for each channel of the network
        n_past : earlier time points that it reads
        stored : reads a volume of the run from the disk; None: it is not there
        """
        found: dict[VolumeKey, Volume] = {}
        for key in past.wanted(keys, n_past):
            with self._guard:
                volume = self._in_memory.get(key)
            volume = volume or stored(key)
            if volume is not None:
                found[key] = volume
        return found

    def _drop(self, key: VolumeKey) -> None:
        volume = self._kept.pop(key, None)
        if volume is not None:
            self._n_bytes -= volume.pixels.nbytes
