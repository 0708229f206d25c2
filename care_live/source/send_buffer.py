"""What a tap keeps until the daemon has it: bounded in bytes, refused by whole volumes."""

from __future__ import annotations

from collections import deque

from care_live.images import Frame, Plan, PlaneIndex, SourceEvent, VolumeKey


class VolumeAdmission:
    """Decides at a volume's first plane whether all of it will fit, and reserves the memory.

    A volume that is refused is refused to its last plane. Where the plan is unknown a volume may be refused
    half-way, and then to its end.
    """

    def __init__(self, max_bytes: int, plan: Plan | None) -> None:
        self._max_bytes = max_bytes
        self._plan = plan
        self._promised: dict[VolumeKey, int] = {}
        self._refused: set[VolumeKey] = set()
        self._promised_bytes = 0
        self.held_bytes = 0
        self.n_refused = 0

    def admit(self, index: PlaneIndex, n_bytes: int) -> bool:
        """Return whether a plane may be kept, and count it."""
        key = index.volume
        if key not in self._refused and not self._has_room(key, n_bytes):
            self._refused.add(key)
            self._promised_bytes -= self._promised.get(key, 0)
        if key in self._refused:
            self.n_refused += 1
            return False
        drawn = min(n_bytes, self._promised[key])
        self._promised[key] -= drawn
        self._promised_bytes -= drawn
        self.held_bytes += n_bytes
        return True

    def release(self, n_bytes: int) -> None:
        """Give back the memory of a plane that the daemon has."""
        self.held_bytes -= n_bytes

    def _has_room(self, key: VolumeKey, n_bytes: int) -> bool:
        if self.held_bytes == 0:  # so the reserved memory is for planes that never came
            self._take_promises_back(keep=key)
        if key in self._promised:
            return self._promised[key] >= n_bytes or self._fits(n_bytes)
        wanted = n_bytes * self._n_planes(key)
        if not self._fits(wanted):
            return False
        self._promised[key] = wanted
        self._promised_bytes += wanted
        return True

    def _fits(self, n_bytes: int) -> bool:
        busy = self.held_bytes + self._promised_bytes
        return busy == 0 or busy + n_bytes <= self._max_bytes

    def _n_planes(self, key: VolumeKey) -> int:
        planes = self._plan.planes_of(key) if self._plan else None
        return len(planes) if planes else 1

    def _take_promises_back(self, *, keep: VolumeKey) -> None:
        kept = self._promised.get(keep)
        self._promised = {} if kept is None else {keep: kept}
        self._promised_bytes = kept or 0


class SendBuffer:
    """Numbered events that the daemon has not acknowledged; some are sent, and can be sent again."""

    def __init__(self) -> None:
        self._first_number = 0
        self._n_sent = 0
        self._events: deque[SourceEvent] = deque()
        self.epoch = 0
        """How often it was rewound."""
        self.sent_before = 0
        """Every number below was sent, in this epoch or an earlier one."""

    def __len__(self) -> int:
        return len(self._events)

    @property
    def next_number(self) -> int:
        """Number of the next message to send."""
        return self._first_number + self._n_sent

    def append(self, event: SourceEvent) -> None:
        self._events.append(event)

    def to_send(self) -> SourceEvent | None:
        """Return the next event to send, or None: all are on their way."""
        return self._events[self._n_sent] if self._n_sent < len(self._events) else None

    def mark_sent(self) -> None:
        self._n_sent += 1
        self.sent_before = max(self.sent_before, self.next_number)

    def acknowledge(self, next_number: int) -> int:
        """Drop everything before *next_number*; return the bytes of pixels that this frees."""
        freed = 0
        while self._events and self._first_number < next_number:
            event = self._events.popleft()
            freed += event.pixels.nbytes if isinstance(event, Frame) else 0
            self._first_number += 1
            self._n_sent = max(0, self._n_sent - 1)
        return freed

    @property
    def first_number(self) -> int:
        """Number of the oldest event that is kept."""
        return self._first_number

    def put_first(self, event: SourceEvent) -> None:
        """Put an event before all others, numbered right before them."""
        self._events.appendleft(event)
        self._first_number -= 1

    def rewind(self) -> None:
        """Send everything again that is not acknowledged."""
        self._n_sent = 0
        self.epoch += 1
