"""Which volumes to restore next: a policy, no threads.

Live volumes wait at most one per stage position and channel group; a newer one takes the place of the older,
which is *skipped* live and goes to the end of the list of those restored later from the store. So
restoration may lag behind acquisition without memory growing, and every skip is reported and counted.

A network of several channels reads a time point when all of them are there. Until its position goes on to a later
time point, those that came wait in memory; then they are skipped live, too, and restored from the store if the
others come after all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from care_live.daemon.backlog import Backlog
from care_live.images import Plan, Volume, VolumeKey
from care_live.restore.channel_choice import ChannelChoice

Policy: TypeAlias = Literal["latest", "every-nth", "defer", "wait"]


@dataclass(frozen=True, slots=True, eq=False)
class InMemory:
    """Volumes from memory, one per input channel of their network."""

    volumes: tuple[Volume, ...]

    @property
    def keys(self) -> tuple[VolumeKey, ...]:
        return tuple(volume.key for volume in self.volumes)


@dataclass(frozen=True, slots=True)
class FromStore:
    """Keys of volumes to read from the store, one per input channel of their network."""

    keys: tuple[VolumeKey, ...]


Job: TypeAlias = InMemory | FromStore
MayTake: TypeAlias = Callable[[tuple[VolumeKey, ...]], bool]


@dataclass(frozen=True, slots=True, eq=False)
class SkippedVolume:
    """A volume that is not restored live, and why; its memory is free."""

    volume: Volume
    why: str


@dataclass(frozen=True, slots=True)
class Unrestorable:
    """A volume that waited in the store and can't be restored, and why."""

    key: VolumeKey
    why: str


@dataclass(slots=True)
class Schedule:
    """What waits for restoration."""

    policy: Policy = "latest"
    nth: int = 2
    channels: ChannelChoice = field(default_factory=ChannelChoice)
    """What each network reads; other volumes must not be offered."""
    plan: Plan | None = None
    """From it follows which volumes will never come; None: the plan is not known."""
    _gathering: dict[VolumeKey, dict[VolumeKey, Volume]] = field(default_factory=dict)
    """Volumes that are read together, by the key that stands for them."""
    _live: OrderedDict[tuple[int, int], InMemory] = field(default_factory=OrderedDict)
    _backlog: Backlog = field(init=False)

    def __post_init__(self) -> None:
        self._backlog = Backlog(self.channels)

    def offer(self, volume: Volume) -> list[SkippedVolume]:
        """Take a closed volume; return those that are skipped because of it."""
        key = volume.key
        if why := self._why_never(key):
            return [SkippedVolume(volume, why)]
        if self.policy == "defer":
            return self._postpone((volume,), "deferred: restored when the acquisition has ended")
        if self.policy == "every-nth" and key.t % self.nth:
            return [SkippedVolume(volume, f"policy every-nth: time point {key.t} is no multiple of {self.nth}")]
        if self._backlog.waits_for(key):
            return self._postpone((volume,), "its other channels wait in the store; restored later")
        skipped = self._give_up_before(key)
        together = self._gather(volume)
        return skipped if together is None else skipped + self._line_up(InMemory(together))

    def later(self, key: VolumeKey) -> None:
        """Put a volume at the end of the list; its turn comes once it is `stored`."""
        if self.channels.takes(key):
            self._backlog.ask(key)

    def stored(self, key: VolumeKey) -> None:
        """The raw volume is safe: it can be read back from now on."""
        self._backlog.stored(key)

    def next(self, *, live_only: bool = False, may_take: MayTake = lambda keys: True) -> Job | None:
        """Return what to restore now: the live volume that waits longest, else the oldest of the store.

        Parameters
        ----------
        may_take : whether a time point may be restored now by the worker that asks
        """
        for place, live in self._live.items():
            if may_take(live.keys):
                del self._live[place]
                return live
        keys = () if live_only else self._backlog.next(may_take)
        return FromStore(keys) if keys else None

    def evict_oldest(self) -> list[SkippedVolume]:
        """Return the volumes, of one time point, that have waited in memory longest and are safe in the store."""
        for group, gathered in self._gathering.items():
            if self._are_stored(tuple(gathered.values())):
                del self._gathering[group]
                return self._postpone(tuple(gathered.values()), "newer raw volumes need the memory; restored later")
        for place, live in self._live.items():
            if self._are_stored(live.volumes):
                del self._live[place]
                return self._postpone(live.volumes, "newer raw volumes need the memory; restored later")
        return []

    def give_up_incomplete(self) -> tuple[list[SkippedVolume], list[Unrestorable]]:
        """Give up on time points whose other channels did not come; to be called when the run has ended."""
        why = "another channel of this time point is missing, which the network reads together with it"
        gathered = [volume for group in self._gathering.values() for volume in group.values()]
        self._gathering.clear()
        in_store = self._backlog.give_up_incomplete()
        return [SkippedVolume(volume, why) for volume in gathered], [Unrestorable(key, why) for key in in_store]

    def give_up_all(self, why: str) -> list[SkippedVolume]:
        """Return all that waits in memory: nothing will be restored any more in this session."""
        waiting = [volume for group in self._gathering.values() for volume in group.values()]
        waiting += [volume for live in self._live.values() for volume in live.volumes]
        self._gathering.clear()
        self._live.clear()
        return [SkippedVolume(volume, why) for volume in waiting]

    @property
    def n_waiting(self) -> int:
        return len(self._live)

    @property
    def n_later(self) -> int:
        return len(self._backlog)

    def _why_never(self, key: VolumeKey) -> str:
        """Return why a volume can never be restored, as far as the plan shows; empty where it can."""
        lacking = [one.c for one in self.channels.keys(key) if one != key and not self._may_come(one)]
        if not lacking:
            return ""
        n = self.channels.n_together(key)
        return f"channel {lacking[0]} is not planned at this time point; the network reads {n} together"

    def _may_come(self, key: VolumeKey) -> bool:
        if self.plan is None or not self.plan.stacks:
            return True
        return self.plan.planes_of(key) is not None or self._backlog.is_stored(key)

    def _give_up_before(self, key: VolumeKey) -> list[SkippedVolume]:
        """Let time points wait no longer for their other channels when their position has gone on to a later one."""
        passed = [group for group in self._gathering if group.p == key.p and group.t < key.t]
        why = f"time point {key.t} came before all channels of this one; restored later if they come"
        return [one for group in passed for one in self._postpone(tuple(self._gathering.pop(group).values()), why)]

    def _gather(self, volume: Volume) -> tuple[Volume, ...] | None:
        """Return all input channels of a time point and position once the last of them is there."""
        keys = self.channels.keys(volume.key)
        gathered = self._gathering.setdefault(keys[0], {})
        gathered[volume.key] = volume
        if len(gathered) < len(keys):
            return None
        del self._gathering[keys[0]]
        return tuple(gathered[key] for key in keys)

    def _line_up(self, live: InMemory) -> list[SkippedVolume]:
        """Let volumes wait for the network; of two time points of one place the newer one does."""
        t, p, c = live.volumes[0].key
        place = (p, c)
        waiting = self._live.pop(place, live)
        newer, older = (live, waiting) if t >= waiting.volumes[0].key.t else (waiting, live)
        self._live[place] = newer
        t = newer.volumes[0].key.t
        return [] if older is newer else self._postpone(older.volumes, f"time point {t} came first; restored later")

    def _postpone(self, volumes: tuple[Volume, ...], why: str) -> list[SkippedVolume]:
        for volume in volumes:
            self.later(volume.key)
        return [SkippedVolume(volume, why) for volume in volumes]

    def _are_stored(self, volumes: tuple[Volume, ...]) -> bool:
        return all(self._backlog.is_stored(volume.key) for volume in volumes)
