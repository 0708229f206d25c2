"""The log of a run in memory: numbered records, whose oldest arrays are dropped first. Safe from any thread."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias

from care_live.acquisition_plan import one_key
from care_live.images import NotRestored, Restored, RunEnded, RunStarted, State, StateChanged, Volume, VolumeKey
from care_live.live_frame import LIVE_RUN

LogRecord: TypeAlias = RunStarted | Restored | Volume | StateChanged | NotRestored | RunEnded
Series: TypeAlias = tuple[int, int]
"""Position and channel: a watcher follows each at its own pace."""

MAX_ENTRIES = 16_384
"""Each costs some hundred bytes. A watcher that is further behind requests older volumes by key, from the store."""
KEPT_STREAMS = 16
"""Streams whose newest volume stays in memory beyond the bound; of a plate with more, the last ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One place in the log."""

    seq: int
    """Negative: never in this log, known by its key only."""
    record: LogRecord | None
    """None: the arrays were dropped; the store has them."""
    key: VolumeKey | None
    """Of a volume, with its output channel."""
    nbytes: int = 0
    """Of its arrays."""
    nth: int | None = None
    """Counts the volumes of its stream that were the newest when they came; None: restored late, or no volume."""
    restored: bool = False
    """It was a restored volume, also after its arrays were dropped."""


class Log:
    """Records numbered from 0 within a session; another run forgets the one before.

    Of what is shown outside any run only the newest frame is kept.

    The newest volume of the streams that were published last is kept beyond the bound, so that a late viewer gets it at
    once; and so is one that the store has not settled: until then only the memory has it.

    Parameters
    ----------
    memory_bytes
        For the arrays of the volumes in the log.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._run_id = ""
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque()
        self._first = 0
        self._held: deque[int] = deque()
        self._held_bytes = 0
        self._newest: dict[Series, int] = {}
        self._latest: dict[Series, tuple[int, int]] = {}
        """Time point and count of the newest of each stream."""
        self._by_key: dict[VolumeKey, int] = {}
        self._changed: dict[VolumeKey, Entry] = {}
        """The last change of each volume's state."""
        self._unsettled: Counter[VolumeKey] = Counter()
        """Volumes that the store will still write, or refuse."""

    def append(self, record: LogRecord, *, until_settled: bool = False) -> Entry:
        """Give a record the next number, and drop the oldest arrays that don't fit any more.

        Parameters
        ----------
        until_settled : keep a volume's arrays at least until `settle` is called for its key
        """
        with self._lock:
            if isinstance(record, RunStarted):
                self._begin(record.run_id)
            key = one_key(record.key) if isinstance(record, Restored | Volume) else None
            seq = self._first + len(self._entries)
            nth = self._follow(seq, key) if key else None
            entry = Entry(seq, record, key, nbytes_of(record), nth, isinstance(record, Restored))
            self._entries.append(entry)
            if key is not None:
                self._by_key[key] = entry.seq
                if until_settled:
                    self._unsettled[key] += 1
                self._held.append(entry.seq)
                self._held_bytes += entry.nbytes
            if isinstance(record, StateChanged):
                self._changed[record.key] = entry
            self._forget()
            return entry

    def settle(self, key: VolumeKey) -> None:
        """Note that the store has written a volume, or has refused it for good: memory may drop it."""
        with self._lock:
            self._unsettled[key] -= 1
            if self._unsettled[key] <= 0:
                del self._unsettled[key]
            self._forget()

    @property
    def end(self) -> int:
        """The number that the next record gets."""
        return self._first + len(self._entries)

    @property
    def first(self) -> int:
        """The oldest number that is still known."""
        return self._first

    @property
    def held_bytes(self) -> int:
        """Bytes of arrays in memory."""
        return self._held_bytes

    def since(self, seq: int) -> Sequence[Entry]:
        """Return all entries from a number on that are still known."""
        with self._lock:
            return [self._entries[at] for at in range(max(0, seq - self._first), len(self._entries))]

    def at(self, seq: int) -> Entry | None:
        """Return one entry, or None: not yet, or too long ago."""
        with self._lock:
            return self._get(seq)

    def of(self, key: VolumeKey) -> Entry | None:
        """Return the newest entry of a volume, or None: never published."""
        with self._lock:
            return self._get(self._by_key.get(key, -1))

    def newest(self, after: int = -1) -> dict[Series, int]:
        """Return the newest volume of every stream that has one after a number."""
        with self._lock:
            found = {}
            for stream, seq in reversed(self._newest.items()):
                if seq <= after:
                    break
                found[stream] = seq
            return found

    def latest(self, stream: Series) -> int:
        """Return the latest time point that was published of a stream; -1: none."""
        with self._lock:
            return self._latest.get(stream, (-1, -1))[0]

    def state_of(self, volume: Volume) -> State:
        """Return what is known of a volume by now; it may have changed since it was published."""
        with self._lock:
            changed = self._changed.get(volume.key)
            return changed.record.state if changed and isinstance(changed.record, StateChanged) else volume.state

    def _begin(self, run_id: str) -> None:
        """Forget another run, whose keys would be taken for those of this one; numbers and counts go on."""
        if run_id == self._run_id:
            return
        self._run_id, self._first = run_id, self._first + len(self._entries)
        for held in (self._entries, self._held, self._newest, self._by_key, self._changed, self._unsettled):
            held.clear()
        self._held_bytes = 0
        self._latest = {stream: (-1, nth) for stream, (_, nth) in self._latest.items()}

    def _get(self, seq: int) -> Entry | None:
        return self._entries[seq - self._first] if self._first <= seq < self._first + len(self._entries) else None

    def _follow(self, seq: int, key: VolumeKey) -> int | None:
        """Note the newest of a stream: a volume that was restored late is not new to live viewers."""
        stream = (key.p, key.c)
        t, nth = self._latest.get(stream, (-1, -1))
        if key.t < t:
            return None
        self._newest.pop(stream, None)  # so that the dictionary stays in the order of the numbers
        self._newest[stream] = seq
        self._latest[stream] = (key.t, nth + 1)
        return nth + 1

    def _forget(self) -> None:
        kept: list[int] = []
        shown = set(islice(reversed(self._newest.values()), KEPT_STREAMS))
        limit_bytes = 0 if self._run_id == LIVE_RUN else self._memory_bytes
        while self._held and self._held_bytes > limit_bytes:
            entry = self._get(self._held.popleft())
            if entry is None or entry.key is None:
                continue
            if entry.seq in shown or entry.key in self._unsettled:
                kept.append(entry.seq)
                continue
            self._entries[entry.seq - self._first] = replace(entry, record=None, nbytes=0)
            self._held_bytes -= entry.nbytes
        self._held.extendleft(reversed(kept))
        while len(self._entries) > MAX_ENTRIES:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        gone = self._entries.popleft()
        self._first += 1
        self._held_bytes -= gone.nbytes
        if gone.key is not None and self._by_key.get(gone.key) == gone.seq:
            del self._by_key[gone.key]
        if gone.key is not None and self._newest.get((gone.key.p, gone.key.c)) == gone.seq:
            del self._newest[gone.key.p, gone.key.c]
        while self._held and self._held[0] < self._first:
            self._held.popleft()
        if isinstance(gone.record, StateChanged) and self._changed.get(gone.record.key) is gone:
            del self._changed[gone.record.key]


def nbytes_of(record: LogRecord) -> int:
    """Return the bytes of a record's arrays."""
    if isinstance(record, Volume):
        return record.pixels.nbytes
    return record.volume.pixels.nbytes + record.nbytes if isinstance(record, Restored) else 0
