"""Which volumes to restore next: a policy, no threads.

Live volumes wait at most one per stage position and channel group; a newer one takes the place of the older,
which is *skipped* live and goes to the end of the list of those restored later from the store. So
restoration may lag behind acquisition without memory growing, and every skip is said and counted.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from care_live.images import Volume, VolumeKey

Policy: TypeAlias = Literal["latest", "every-nth", "defer", "wait"]
Group: TypeAlias = tuple[int, int]
"""Time point and position: what a network with several input channels reads together."""


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """Volumes from memory, one per input channel of the network."""

    volumes: tuple[Volume, ...]


@dataclass(frozen=True, slots=True)
class Later:
    """Keys of volumes to read from the store, one per input channel of the network."""

    keys: tuple[VolumeKey, ...]


Job: TypeAlias = Live | Later


@dataclass(frozen=True, slots=True, eq=False)
class Skipped:
    """A volume that is not restored live, and why."""

    volume: Volume
    why: str


@dataclass(slots=True)
class Schedule:
    """What waits for restoration."""

    policy: Policy = "latest"
    nth: int = 2
    channels_in: int = 1
    """Channels that the network reads together."""
    _gathering: dict[Group, dict[int, Volume]] = field(default_factory=dict)
    _live: OrderedDict[tuple[int, int], Live] = field(default_factory=OrderedDict)
    _later: OrderedDict[VolumeKey, None] = field(default_factory=OrderedDict)
    _stored: set[VolumeKey] = field(default_factory=set)

    def offer(self, volume: Volume) -> list[Skipped]:
        """Take a closed volume; return those that are skipped because of it."""
        if self.policy == "defer":
            return self._postpone((volume,), "deferred: restored when the acquisition has ended")
        if self.policy == "every-nth" and volume.key.t % self.nth:
            return [Skipped(volume, f"policy every-nth: time point {volume.key.t} is no multiple of {self.nth}")]
        together = self._gather(volume)
        if together is None:
            return []
        place = (volume.key.p, 0 if self.channels_in > 1 else volume.key.c)
        older = self._live.pop(place, None)
        self._live[place] = Live(together)
        return self._postpone(older.volumes, f"time point {volume.key.t} came first; restored later") if older else []

    def later(self, key: VolumeKey) -> None:
        """Put a volume at the end of the list; its turn comes once it is `stored`."""
        self._later.setdefault(key)

    def stored(self, key: VolumeKey) -> None:
        """The raw volume is safe: it can be read back from now on."""
        self._stored.add(key)

    def next(self, *, live_only: bool = False) -> Job | None:
        """Return what to restore now: the live volume that waits longest, else the oldest of the store."""
        if self._live:
            return self._live.popitem(last=False)[1]
        if live_only:
            return None
        keys = self._oldest_complete_group()
        for key in keys:
            del self._later[key]
        return Later(keys) if keys else None

    @property
    def n_waiting(self) -> int:
        return len(self._live)

    @property
    def n_later(self) -> int:
        return len(self._later)

    def _gather(self, volume: Volume) -> tuple[Volume, ...] | None:
        """Return all input channels of a time point and position once the last of them is there."""
        if self.channels_in == 1:
            return (volume,)
        group = self._gathering.setdefault((volume.key.t, volume.key.p), {})
        group[volume.key.c] = volume
        if len(group) < self.channels_in:
            return None
        del self._gathering[volume.key.t, volume.key.p]
        return tuple(group[c] for c in sorted(group))

    def forget_incomplete(self) -> list[Skipped]:
        """Give up on time points whose other channels did not come; to be called when the run has ended."""
        alone = [volume for group in self._gathering.values() for volume in group.values()]
        self._gathering.clear()
        return [Skipped(volume, "the other channels of this time point are missing") for volume in alone]

    def _postpone(self, volumes: tuple[Volume, ...], why: str) -> list[Skipped]:
        for volume in volumes:
            self.later(volume.key)
        return [Skipped(volume, why) for volume in volumes]

    def _oldest_complete_group(self) -> tuple[VolumeKey, ...]:
        groups: dict[Group | VolumeKey, list[VolumeKey]] = {}
        for key in self._later:
            if key in self._stored:
                group = groups.setdefault(key if self.channels_in == 1 else (key.t, key.p), [])
                group.append(key)
                if len(group) == self.channels_in:
                    return tuple(sorted(group))
        return ()
