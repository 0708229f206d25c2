"""What a tap keeps until the daemon has it: bounded in bytes, refused by whole volumes."""

from __future__ import annotations

from collections import deque

from care_live.images import Frame, Plan, PlaneIndex, RunEvent, RunStarted, VolumeKey


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
        if key not in self._refused and not self._has_space(key, n_bytes):
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
        """Give back the memory of planes that the daemon has."""
        self.held_bytes -= n_bytes

    def take_back(self, n_bytes: int) -> None:
        """Count planes again that a daemon had which is gone."""
        self.held_bytes += n_bytes

    @property
    def spare_bytes(self) -> int:
        """What may be used for planes that the daemon has and has not stored: they give way to new ones."""
        return max(0, self._max_bytes - self.held_bytes - self._promised_bytes)

    def _has_space(self, key: VolumeKey, n_bytes: int) -> bool:
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
    """Numbered events, in this order: those that the daemon has and has not stored, those that are sent, the others.

    A daemon that is killed takes along what it had not stored; the next one is sent it again.
    """

    def __init__(self) -> None:
        self._first_number = 0
        self._n_received = 0
        self._n_sent = 0
        self._events: deque[RunEvent] = deque()
        self._spare_bytes = 0
        """Of frames that the daemon has."""
        self.epoch = 0
        """How often it was rewound."""
        self.sent_before = 0
        """Every number below was sent, in this epoch or an earlier one."""

    def __len__(self) -> int:
        return len(self._events)

    @property
    def n_unreceived(self) -> int:
        """Events that the daemon does not have."""
        return len(self._events) - self._n_received

    @property
    def next_number(self) -> int:
        """Number of the next message to send."""
        return self._first_number + self._n_sent

    def append(self, event: RunEvent) -> None:
        self._events.append(event)

    def to_send(self) -> RunEvent | None:
        """Return the next event to send, or None: all are on their way."""
        return self._events[self._n_sent] if self._n_sent < len(self._events) else None

    def mark_sent(self) -> None:
        self._n_sent += 1
        self.sent_before = max(self.sent_before, self.next_number)

    def acknowledge(self, next_number: int, stored_before: int) -> int:
        """Note what the daemon has, and drop what it has stored; return the bytes of pixels that came newly."""
        came = 0
        while self.n_unreceived and self._first_number + self._n_received < next_number:
            came += _pixel_bytes(self._events[self._n_received])
            self._n_received += 1
        self._n_sent = max(self._n_sent, self._n_received)
        self._spare_bytes += came
        while self._n_received and self._first_number < stored_before:
            self._forget_one()
        return came

    def keep_at_most(self, spare_bytes: int) -> None:
        """Drop the oldest frames that the daemon has, until the rest takes no more than this."""
        while self._n_received and self._spare_bytes > spare_bytes:
            self._forget_one()

    def _forget_one(self) -> None:
        self._spare_bytes -= _pixel_bytes(self._events.popleft())
        self._first_number += 1
        self._n_received -= 1
        self._n_sent -= 1

    @property
    def first_number(self) -> int:
        """Number of the oldest event that is kept."""
        return self._first_number

    def begin_with(self, started: RunStarted) -> None:
        """Put the run's start before all others, numbered right before them, unless it is the first already."""
        if not (self._events and isinstance(self._events[0], RunStarted)):
            self._events.appendleft(started)
            self._first_number -= 1

    def rewind(self, next_number: int) -> int:
        """Send everything again that the daemon does not have; return the bytes that an earlier one had."""
        had = 0
        while self._n_received and self._first_number + self._n_received > next_number:
            self._n_received -= 1
            had += _pixel_bytes(self._events[self._n_received])
        self._spare_bytes -= had
        self._n_sent = self._n_received
        self.epoch += 1
        return had


def _pixel_bytes(event: RunEvent) -> int:
    return event.pixels.nbytes if isinstance(event, Frame) else 0
