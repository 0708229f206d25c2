"""The `Schedule` behind a lock: intake puts volumes in, the restorer waits for its next job."""

from __future__ import annotations

import threading

from care_live.daemon.policy import Job, Schedule, SkippedVolume, Unrestorable
from care_live.images import Volume, VolumeKey


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
        self._intake_over = self._draining = self._stopping = False
        self._given_up = ""

    @property
    def n_together(self) -> int:
        """Channels that the network reads together."""
        return self._schedule.channels.n_together

    def takes(self, key: VolumeKey) -> bool:
        """Return whether the network reads a volume; others are not offered."""
        return self._schedule.channels.takes(key)

    @property
    def waiting(self) -> tuple[int, int]:
        """Volumes that wait in memory, and in the store."""
        with self._changed:
            return self._schedule.n_waiting, self._schedule.n_later

    def offer(self, volume: Volume) -> list[SkippedVolume]:
        """Take a closed volume; return those that are skipped because of it. Policy *wait* waits for room."""
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

        Channels that the network reads together must come in one call. Otherwise the end of the acquisition would give
        up the first half of a time point, and the second half would wait for ever.
        """
        with self._changed:
            for key in keys:
                self._schedule.later(key)
            self._changed.notify_all()

    def stored(self, key: VolumeKey) -> None:
        """A raw volume is stored."""
        with self._changed:
            self._schedule.stored(key)
            self._changed.notify_all()

    def next(self) -> Job | None:
        """Wait for something to restore; None when nothing will come."""
        with self._changed:
            while not self._stopping:
                live_only = self._draining or (self._schedule.policy == "defer" and not self._intake_over)
                if (job := self._schedule.next(live_only=live_only)) is not None:
                    self._changed.notify_all()
                    return job
                if self._intake_over and (live_only or not self._schedule.n_later):
                    return None
                self._changed.wait()
            return None

    def make_room(self) -> list[SkippedVolume]:
        """Return the time point that has waited in memory longest and is safe in the store; empty: there is none."""
        with self._changed:
            skipped = self._schedule.make_room()
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
            self._changed.wait_for(lambda: self._draining or self._stopping, pause_s)

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
