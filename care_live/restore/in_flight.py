"""The table of volumes that are being recorded: ``opened → streaming → complete | abandoned(reason)``.

The daemon and inference each keep one, since they share no memory but pixels. The daemon opens a volume, abandons it
and gives the reason; inference follows its messages, and limits only what goes through the network at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from care_live.images import VolumeKey
from care_live.reasons import Choice, whole

FlightState: TypeAlias = Literal["opened", "streaming", "complete", "abandoned"]

N_OPEN = 4
"""Volumes whose planes are being put into shared memory; for a fifth the oldest one is abandoned."""
N_STREAMING = 2
"""Volumes that keep caches of the network: the next one begins before the last one is restored."""
_N_REASONS = 64
"""Reasons that are kept of volumes that have left: as many as may wait to be restored."""

T = TypeVar("T")


@dataclass(slots=True)
class VolumeInFlight(Generic[T]):
    """One volume, or one time point of several channels, that is being recorded."""

    key: VolumeKey
    """Of its first channel."""
    held: T
    """What this end of the pipe holds of it."""
    state: FlightState = "opened"
    choice: Choice | None = None
    """Whether it is streamed, and why; None: the other end decides."""


class InFlight(Generic[T]):
    """Volumes by key, oldest first. Locked by its owner.

    Parameters
    ----------
    n_open, n_streaming : at most; None: the other end of the pipe limits them
    """

    def __init__(self, *, n_open: int | None = None, n_streaming: int | None = None) -> None:
        self._n_open, self._n_streaming = n_open, n_streaming
        self._volumes: dict[VolumeKey, VolumeInFlight[T]] = {}
        self._reasons: OrderedDict[VolumeKey, Choice] = OrderedDict()

    def __iter__(self) -> Iterator[VolumeInFlight[T]]:
        return iter(list(self._volumes.values()))

    def get(self, key: VolumeKey) -> VolumeInFlight[T] | None:
        """Return a volume that is being recorded."""
        return self._volumes.get(key)

    def evict(self) -> list[VolumeInFlight[T]]:
        """Abandon the oldest volumes until another one may be opened; return them."""
        n_gone = 0 if self._n_open is None else max(0, len(self._volumes) + 1 - self._n_open)
        gone = [self.abandon(key, whole("overtaken")) for key in list(self._volumes)[:n_gone]]
        return [volume for volume in gone if volume is not None]

    def open(self, key: VolumeKey, held: T, choice: Choice | None = None) -> VolumeInFlight[T]:
        """Enter a volume whose first plane came; the caller has evicted older ones."""
        assert key not in self._volumes, f"volume {tuple(key)} is open already"
        self._reasons.pop(key, None)
        volume = self._volumes[key] = VolumeInFlight(key, held, choice=choice)
        return volume

    def make_way(self) -> list[VolumeInFlight[T]]:
        """Stop the oldest streams until another one may begin; return them: they stay open, to be restored whole."""
        if self._n_streaming is None:
            return []
        at_work = [volume for volume in self._volumes.values() if volume.state == "streaming"]
        stopped = at_work[: max(0, len(at_work) + 1 - self._n_streaming)]
        for volume in stopped:
            self.stop(volume, whole("overtaken"))
        return stopped

    def stream(self, volume: VolumeInFlight[T], choice: Choice | None = None) -> None:
        """Note that a volume goes through the network while it is recorded; the caller has made way."""
        volume.state, volume.choice = "streaming", choice

    def stop(self, volume: VolumeInFlight[T], choice: Choice) -> None:
        """Note that a volume that stays open will be restored whole."""
        volume.state, volume.choice = "opened", choice

    def abandon(self, key: VolumeKey, choice: Choice) -> VolumeInFlight[T] | None:
        """Take a volume out before its last plane, and keep the reason until `reason` takes it."""
        volume = self._volumes.pop(key, None)
        if volume is not None:
            volume.state, volume.choice = "abandoned", choice
        self._reasons[key] = choice
        while len(self._reasons) > _N_REASONS:
            self._reasons.popitem(last=False)
        return volume

    def complete(self, key: VolumeKey) -> VolumeInFlight[T] | None:
        """Take a volume out whose planes have come; it belongs to the caller."""
        volume = self._volumes.pop(key, None)
        if volume is not None:
            volume.state = "complete"
        return volume

    def why_not(self, key: VolumeKey) -> Choice | None:
        """Return, once, why a volume is not in the table; None: it never was."""
        return self._reasons.pop(key, None)


class PlaneProgress:
    """How far inference is with a volume; the daemon may read it at any time.

    Parameters
    ----------
    counts : (2,) int64, in memory that both see; each is written as a whole, and by inference only
    """

    def __init__(self, counts: NDArray[np.int64] | None = None) -> None:
        self._counts = np.zeros(2, np.int64) if counts is None else counts

    @property
    def n_taken(self) -> int:
        """Planes that inference has dealt with, of all channels."""
        return int(self._counts[0])

    @property
    def n_restored(self) -> int:
        """Planes from the first on that are final: their pixels were written before this number."""
        return int(self._counts[1])

    def note(self, n_taken: int, n_restored: int) -> None:
        self._counts[0], self._counts[1] = n_taken, n_restored
