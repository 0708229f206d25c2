"""The newest volumes in memory: filled by one feed, read by any number of watchers."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import msgspec
import numpy as np

from care_live.images import Restored, State, VolumeKey, read_only
from care_live.maps import Array
from care_live.publish.delivery import Delivery, FromDaemon
from care_live.publish.describe import networks_of
from care_live.viewer.trust_line import TrustNote, note_of
from care_live.viewer.view_records import RunInfo, SystemStatus, ViewedVolume, describe
from care_live.wire.messages import Change, End, Skipped, Start

MAX_GROWING = 8
"""Times the memory: a volume that takes more is shown only when it is complete, not while it is restored."""
KEPT_NOTES = 200_000
"""Volumes of which the verdict is kept, for the time line."""
KEPT_STREAMS = 16
"""Positions and channels of which the newest volume stays whatever the memory."""


class GrowingVolume:
    """Restored planes from the first on; every slab gives one more record, and the pixels are shared.

    A plane is written once, before the first record that counts it. A slab that did not come ends the growth: the
    whole volume follows anyway. The live cache owns it and holds its lock.

    Parameters
    ----------
    first : the slab with the first planes
    before : the newest whole volume of the same position and channel, if there is one
    """

    def __init__(self, first: Restored, before: ViewedVolume | None) -> None:
        self.key: VolumeKey = first.key
        self.records: list[ViewedVolume] = []
        """One for each slab, with more and more planes."""
        self._whole = {
            head: np.zeros((first.n_planes, *array.shape[1:]), np.float32) for head, array in first.maps.items()
        }
        self._before = before if _fits(before, self._whole["mean"]) else None
        self.add(first)

    @property
    def n_restored(self) -> int:
        """Planes that are there, from the first on."""
        return self.records[-1].n_restored or 0 if self.records else 0

    def add(self, slab: Restored) -> None:
        """Take one more slab, if it is the next one."""
        begin = slab.z.start if slab.z is not None else 0
        if begin != self.n_restored or slab.maps.keys() != self._whole.keys():
            return
        end = begin + len(slab.maps["mean"])
        if any(array.shape != self._whole[head][begin:end].shape for head, array in slab.maps.items()):
            return  # of another volume, or beyond its end
        for head, array in slab.maps.items():
            self._whole[head][begin:end] = array
        self.records.append(self._record(slab, end))

    def seen(self, z: int | None, *, plane_only: bool) -> ViewedVolume | None:
        """Return the newest record; for one plane the first that has it, so that it is drawn once.

        Parameters
        ----------
        z : plane; None: the middle one
        """
        if not plane_only:
            return self.records[-1]
        n_planes = self.records[-1].shape[0]
        plane = n_planes // 2 if z is None else min(z, n_planes - 1)
        return next((one for one in self.records if one.n_restored is None or one.n_restored > plane), None)

    def _record(self, slab: Restored, n_restored: int) -> ViewedVolume:
        maps = {head: read_only(array) for head, array in self._whole.items()}
        grown = msgspec.structs.replace(slab, maps=maps, z=slice(0, n_restored))
        return ViewedVolume(grown, None, "provisional", before=self._before)


def _shown(came: Delivery) -> ViewedVolume:
    """Return a volume that came just now, as every screen shows it."""
    last_plane_s = time.monotonic() - came.age_s if came.age_s >= 0 else None
    sequence = -1 if came.seq is None else came.seq
    return ViewedVolume(came.restored, came.volume, came.state, last_plane_s, sequence=sequence)


def _begins(slab: Restored, most_bytes: int) -> bool:
    """Return whether these are the first planes of a volume that fits: a few bytes on the wire can announce any."""
    whole_bytes = sum(array[0].nbytes * slab.n_planes for array in slab.maps.values() if len(array))
    return slab.z is not None and slab.z.start == 0 and "mean" in slab.maps and whole_bytes <= most_bytes


def _fits(before: ViewedVolume | None, mean: Array) -> bool:
    return before is not None and "mean" in before.maps and before.maps["mean"].shape == mean.shape


@dataclass
class LiveCache:
    """Volumes of the running acquisition, newest last, bounded in bytes.

    The newest volumes of the positions and channels that came last always stay, and so does what is still being
    restored after them: of a plate with thousands of positions a viewer must not keep one volume each. All methods
    may be called from any thread; `ViewedVolume` records are never changed in place.
    """

    memory_bytes: int = 256 << 20
    _volumes: OrderedDict[VolumeKey, ViewedVolume] = field(default_factory=OrderedDict)
    _newest: dict[tuple[int, int], VolumeKey] = field(default_factory=dict)
    _arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=64))
    _growing: dict[tuple[int, int], GrowingVolume] = field(default_factory=dict)
    _notes: OrderedDict[VolumeKey, TrustNote] = field(default_factory=OrderedDict)
    _listeners: list[Callable[[], None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _info: RunInfo = field(default_factory=RunInfo)
    _status: SystemStatus = field(default_factory=SystemStatus)
    _count: int = 0

    def take(self, message: FromDaemon) -> None:
        """Put a message of the daemon where it belongs."""
        match message:
            case Delivery() if message.is_whole:
                self.put(_shown(message))
            case Delivery(restored=Restored() as planes):
                self.grow(planes)
            case Start(run=str(run), plan=plan):
                self.begin(
                    describe(
                        run,
                        channels=plan.channels,
                        positions=plan.positions,
                        interval_s=plan.interval_s,
                        networks=networks_of(message),
                    )
                )
            case Change(key=(t, p, c), state=state):
                self.change(VolumeKey(t, p, c), state)
            case Skipped(key=(t, p, c)):
                self.abandon(VolumeKey(t, p, c))
            case End(reason=reason):
                self.end(reason)

    def put(self, shown: ViewedVolume) -> None:
        """Take one volume in; another one with the same key is replaced."""
        with self._lock:
            self._volumes.pop(shown.key, None)
            self._volumes[shown.key] = shown
            place = (shown.key.p, shown.key.c)
            newest = self._newest.pop(place, shown.key)
            self._newest[place] = max(newest, shown.key)  # at the end: the dictionary is in the order of arrival
            self._arrivals.append(time.monotonic())
            self._count += 1
            self._end_growth(place, shown.key.t)
            self._note(shown)
            self._forget_oldest()
        self._wake_watchers()

    def grow(self, slab: Restored) -> None:
        """Take in planes of a volume that is still being restored; the whole volume takes their place."""
        place = (slab.key.p, slab.key.c)
        with self._lock:
            newest, growing = self._newest.get(place), self._growing.get(place)
            if newest is not None and newest.t >= slab.key.t:
                return
            if growing is not None and growing.key == slab.key:
                growing.add(slab)
            elif _begins(slab, MAX_GROWING * self.memory_bytes):
                before = self._volumes.get(newest) if newest is not None else None
                self._growing.pop(place, None)
                self._growing[place] = GrowingVolume(slab, before)
                while len(self._growing) > KEPT_STREAMS:
                    del self._growing[next(iter(self._growing))]
        self._wake_watchers()

    def abandon(self, source: VolumeKey) -> None:
        """Show no planes any more of a volume that will not be restored."""
        with self._lock:
            self._end_growth((source.p, source.c), source.t)
        self._wake_watchers()

    def begin(self, info: RunInfo) -> None:
        """Begin a run; volumes of another run are dropped."""
        with self._lock:
            if info.run_id != self._info.run_id:
                self._volumes.clear()
                self._newest.clear()
                self._growing.clear()
                self._notes.clear()
            self._info = info
        self._wake_watchers()

    def change(self, source: VolumeKey, state: State) -> None:
        """Note that a raw volume, and what was restored from it, turned confirmed or suspect."""
        with self._lock:
            for key, shown in self._volumes.items():
                if shown.volume is not None and shown.volume.key == source:
                    self._volumes[key] = replace(shown, state=state)
        self._wake_watchers()

    def report(self, status: SystemStatus) -> None:
        with self._lock:
            self._status = status
            if not status.connected:
                self._growing.clear()
        self._wake_watchers()

    def end(self, reason: str) -> None:
        with self._lock:
            self._info = replace(self._info, ended=reason)
            self._growing.clear()
        self._wake_watchers()

    def newest(self, position: int | None = None) -> VolumeKey | None:
        """Return the key of the newest time point, of one position or of any."""
        with self._lock:
            keys = [key for (p, _), key in self._newest.items() if position in (None, p)]
            arrived = {key: order for order, key in enumerate(self._volumes)}
        return max(keys, key=lambda key: (key.t, arrived.get(key, -1)), default=None)

    def newest_of_each_channel(self, position: int) -> tuple[VolumeKey, ...]:
        """Return the key of the newest volume of every channel of a position."""
        with self._lock:
            return tuple(key for (p, _), key in self._newest.items() if p == position)

    def get(self, key: VolumeKey) -> ViewedVolume | None:
        with self._lock:
            return self._volumes.get(key)

    def growing(
        self, position: int | None = None, *, plane_only: bool = False, z: int | None = None
    ) -> tuple[ViewedVolume, ...]:
        """Return the channels of the newest time point that is still being restored, of one position or of any.

        Parameters
        ----------
        plane_only : only plane `z` is shown, so nothing changes before that one is restored
        z : None: the middle one
        """
        with self._lock:
            there = [growing for (p, _), growing in self._growing.items() if position in (None, p)]
            newest = max(there, key=lambda growing: growing.key.t, default=None)
            if newest is None:
                return ()
            together = [one for one in there if one.key[:2] == newest.key[:2] and one.records]
            found = (one.seen(z, plane_only=plane_only) for one in together)
            return tuple(record for record in found if record is not None)

    def known(self) -> tuple[VolumeKey, ...]:
        with self._lock:
            return tuple(self._volumes)

    def trust_notes(self) -> dict[VolumeKey, TrustNote]:
        """Return the verdicts that came, also of volumes that are not in memory any more."""
        with self._lock:
            return dict(self._notes)

    @property
    def info(self) -> RunInfo:
        with self._lock:
            return self._info

    @property
    def status(self) -> SystemStatus:
        with self._lock:
            return self._status

    @property
    def count(self) -> int:
        """Volumes that ever came."""
        with self._lock:
            return self._count

    def volumes_per_s(self) -> float:
        """Return the rate of the last volumes; it sinks towards 0 when they stay away."""
        with self._lock:
            arrivals = tuple(self._arrivals)
        return rate(arrivals, now_s=time.monotonic())

    def watch(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change, in the feed's thread; return what ends it."""
        with self._lock:
            self._listeners.append(listener)

        def unwatch() -> None:
            with self._lock:
                self._listeners.remove(listener)

        return unwatch

    def _wake_watchers(self) -> None:
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def _end_growth(self, place: tuple[int, int], t: int) -> None:
        growing = self._growing.get(place)
        if growing is not None and growing.key.t <= t:
            del self._growing[place]

    def _note(self, shown: ViewedVolume) -> None:
        if shown.trust is not None:
            self._notes[shown.key] = note_of(shown.trust)
            while len(self._notes) > KEPT_NOTES:
                self._notes.popitem(last=False)

    def _forget_oldest(self) -> None:
        held = sum(shown.nbytes for shown in self._volumes.values())
        kept = set(islice(reversed(self._newest.values()), KEPT_STREAMS))
        for key in [key for key in self._volumes if key not in kept]:
            if held <= self.memory_bytes:
                return
            held -= self._volumes.pop(key).nbytes


def rate(arrivals_s: Sequence[float], *, now_s: float) -> float:
    """Return the volumes per second up to now; 0 with fewer than two arrivals."""
    if len(arrivals_s) < 2:
        return 0.0
    return (len(arrivals_s) - 1) / max(now_s - arrivals_s[0], arrivals_s[-1] - arrivals_s[0], 1e-6)
