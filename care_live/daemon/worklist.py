"""The `Schedule` behind a lock: intake puts volumes in, the restorer waits for its next job."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TypeAlias

from care_live.daemon.policy import InMemory, Job, Schedule, SkippedVolume, Unrestorable
from care_live.images import Volume, VolumeKey
from care_live.restore.channel_choice import ChannelChoice

MayTakeBeside: TypeAlias = Callable[[tuple[VolumeKey, ...], Collection[VolumeKey]], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A job that a worker has taken."""

    job: Job
    number: int | None = None
    """Counts live jobs in the order in which they were taken; None: a late one, whose order does not matter."""
    n_moves: int = 0
    """Workers that were lost with it."""


class Worklist:
    """What is to be restored, and whether more will come.

    Parameters
    ----------
    schedule : Schedule
        It belongs to the work list from now on.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._changed = threading.Condition()
        self._intake_over = self._draining = self._stopping = self._ended = False
        self._given_up = ""
        self._at_work: set[VolumeKey] = set()
        self._moved: list[Turn] = []
        self._last: list[VolumeKey] = []
        self._n_live = self._n_passed_on = 0

    @property
    def channels(self) -> ChannelChoice:
        """Which network reads which channels."""
        return self._schedule.channels

    def takes(self, key: VolumeKey) -> bool:
        """Return whether a network reads a volume; others are not offered."""
        return self._schedule.channels.takes(key)

    @property
    def waiting(self) -> tuple[int, int]:
        """Volumes that wait in memory, and in the store."""
        with self._changed:
            return self._schedule.n_waiting, self._schedule.n_later + len(self._last)

    def offer(self, volume: Volume) -> list[SkippedVolume]:
        """Take a closed volume; return those that are skipped because of it. Policy *wait* waits until it fits."""
        with self._changed:
            if self._schedule.policy == "wait":
                self._changed.wait_for(lambda: not self._schedule.n_waiting or self._draining or self._stopping)
            if self._given_up:
                return [SkippedVolume(volume, self._given_up)]
            skipped = self._schedule.offer(volume)
            self._changed.notify_all()
            return skipped

    def later(self, *keys: VolumeKey) -> None:
        """Restore volumes from the store, when nothing live waits and they are stored.

        Channels that a network reads together must come in one call. Otherwise the end of the acquisition would give
        up the first half of a time point, and the second half would wait for ever.
        """
        with self._changed:
            for key in keys:
                self._schedule.later(key)
            self._changed.notify_all()

    def last(self, *keys: VolumeKey) -> bool:
        """Restore volumes from the store when the acquisition is over and nothing else is left to restore.

        Returns whether they will be, in this session.
        """
        with self._changed:
            if self._ended or self._draining or self._stopping:
                return False
            self._last += keys
            self._changed.notify_all()
            return True

    def end(self) -> bool:
        """Take nothing more; False: volumes were put on the list after its last worker had left."""
        with self._changed:
            self._ended = not self._last or self._draining or self._stopping
            return self._ended

    def stored(self, key: VolumeKey) -> None:
        """A raw volume is stored."""
        with self._changed:
            self._schedule.stored(key)
            self._changed.notify_all()

    def next(self, may_take: MayTakeBeside = lambda keys, at_work: True, *, n_ahead: float = math.inf) -> Turn | None:
        """Wait for something to restore; None when nothing will come. `finished` or `again` follows.

        What a lost worker had may always be taken, since all results behind it wait for that one.

        Parameters
        ----------
        may_take : whether the worker that asks may restore a time point while other volumes are being restored
        n_ahead : live jobs that may be taken behind the oldest one whose result is not passed on, see `passed_on`
        """
        with self._changed:
            while not self._stopping:
                live_only = self._draining or (self._schedule.policy == "defer" and not self._intake_over)
                if (turn := self._take(may_take, live_only=live_only, n_ahead=n_ahead)) is not None:
                    self._at_work.update(turn.job.keys)
                    self._changed.notify_all()
                    return turn
                if not self._nothing_left:
                    self._changed.wait()
                elif self._draining or not self._last:
                    return None
                else:
                    self._take_up_the_last()
            return None

    @property
    def _nothing_left(self) -> bool:
        """Whether nothing waits or is at work, but for what is restored last."""
        live_only = self._draining or (self._schedule.policy == "defer" and not self._intake_over)
        return (
            self._intake_over
            and (live_only or not self._schedule.n_later)
            and not (self._at_work or self._moved or self._schedule.n_waiting)
        )

    @property
    def _over(self) -> bool:
        return self._stopping or (self._nothing_left and (self._draining or not self._last))

    def await_end(self, limit_s: float) -> bool:
        """Wait until no more jobs will be given, at most this long; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._over, limit_s)

    def _take_up_the_last(self) -> None:
        for key in self._last:
            self._schedule.later(key)
        self._last.clear()

    def look_again(self) -> None:
        """Ask anew what may be taken beside the jobs that are being done: more may."""
        with self._changed:
            self._changed.notify_all()

    def finished(self, turn: Turn) -> None:
        """A job is done, or has failed: what waited for its end may be taken."""
        with self._changed:
            self._at_work.difference_update(turn.job.keys)
            self._changed.notify_all()

    def passed_on(self, n: int) -> None:
        """Note how many live jobs have passed on their results: further ones may be taken, see `next`."""
        with self._changed:
            self._n_passed_on = max(self._n_passed_on, n)
            self._changed.notify_all()

    def again(self, turn: Turn) -> bool:
        """Give a job whose worker was lost to the next worker that asks; return whether one will."""
        with self._changed:
            if self._stopping:
                return False
            self._at_work.difference_update(turn.job.keys)
            self._moved.append(replace(turn, n_moves=turn.n_moves + 1))
            self._changed.notify_all()
            return True

    def abandoned(self) -> list[Turn]:
        """Return the jobs that no worker took after the one that had them was lost."""
        with self._changed:
            moved, self._moved = self._moved, []
            return moved

    def _take(self, may_take: MayTakeBeside, *, live_only: bool, n_ahead: float) -> Turn | None:
        """Take what lost its worker first, then what is next by the policy."""

        def may(keys: tuple[VolumeKey, ...]) -> bool:
            return may_take(keys, self._at_work)

        for turn in self._moved:
            if may(turn.job.keys):
                self._moved.remove(turn)
                return turn
        if self._n_live - self._n_passed_on > n_ahead:
            return None
        job = self._schedule.next(live_only=live_only, may_take=may)
        if job is None:
            return None
        if not isinstance(job, InMemory):
            return Turn(job)
        self._n_live += 1
        return Turn(job, number=self._n_live - 1)

    def evict_oldest(self) -> list[SkippedVolume]:
        """Return the time point that has waited in memory longest and is safe in the store; empty: there is none."""
        with self._changed:
            skipped = self._schedule.evict_oldest()
            self._changed.notify_all()
            return skipped

    def intake_over(self) -> tuple[list[SkippedVolume], list[Unrestorable]]:
        """No volume will be offered any more; return those whose other channels never came."""
        with self._changed:
            self._intake_over = True
            self._changed.notify_all()
            return self._schedule.give_up_incomplete()

    @property
    def is_intake_over(self) -> bool:
        """Whether no volume will be offered any more."""
        with self._changed:
            return self._intake_over

    def pause(self, pause_s: float) -> None:
        """Wait before the next job, unless the end comes first."""
        with self._changed:
            self._changed.wait_for(lambda: self._draining or self._over, pause_s)

    def give_up(self, why: str) -> list[SkippedVolume]:
        """Neither give nor take jobs any more; return the volumes that waited in memory."""
        with self._changed:
            self._given_up, self._stopping = why, True
            self._changed.notify_all()
            return self._schedule.give_up_all(why)

    def drain(self) -> None:
        """Give only what waits in memory; leave the others to the next start."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Give no more jobs."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
