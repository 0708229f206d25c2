"""Which hardware sequence delivered a frame, and whether that sequence was whole.

Engines give frames of a hardware sequence their axes by counting, so one lost or doubled frame shifts all the
later ones in silence. The evidence: the count at the sequence's end, a jump of the camera's own counter, and
what the engine complains about. A sequence is announced by the engine's hardware hook; where the hook is missing,
the core's ``ImageNumber`` tells, because only sequenced frames have one and it begins anew with each sequence.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from care_live.errors import FrameError
from care_live.images import PlaneIndex, SequenceEnded


@dataclass(slots=True)
class _Open:
    sequence_id: int
    planes: frozenset[PlaneIndex]
    """Empty: not announced, so not known."""
    n_expected: int
    n_received: int = 0
    last_camera_count: int | None = None
    problems: list[str] = field(default_factory=list)

    def ended(self) -> SequenceEnded:
        if self.n_received != self.n_expected:
            self.problems.append(f"{self.n_received} of {self.n_expected} frames came")
        problem = "; ".join(self.problems) or None
        return SequenceEnded(self.sequence_id, self.n_expected, self.n_received, problem)


class SequenceWatch:
    """Follows the hardware sequences of one acquisition; announced by one thread, counted by another."""

    def __init__(self, order: Sequence[PlaneIndex] = ()) -> None:
        self._order = {index: place for place, index in enumerate(order)}
        self._lock = threading.Lock()
        self._open: deque[_Open] = deque()
        self._n_begun = 0
        self._last_image_number: int | None = None
        self._first_place: int | None = None
        self._last_snapped: int | None = None

    def announce(self, planes: Iterable[PlaneIndex]) -> None:
        """The engine is about to run these planes as one hardware sequence."""
        with self._lock:
            wanted = frozenset(planes)
            self._open.append(_Open(self._n_begun, wanted, len(wanted)))
            self._n_begun += 1

    def take(
        self, index: PlaneIndex, *, image_number: int | None = None, camera_count: int | None = None
    ) -> tuple[int | None, list[SequenceEnded]]:
        """Count a frame; return its sequence (None: snapped) and the sequences that ended before it.

        Raises
        ------
        FrameError
            A snapped frame is the one before once more.
        """
        with self._lock:
            ended = self._end_before(index, image_number)
            sequence = self._sequence_of(index, image_number)
            if sequence is None:
                self._check_snapped(index, camera_count)
                return None, ended
            sequence.n_received += 1
            _check_count(sequence, camera_count)
            return sequence.sequence_id, ended

    def _check_snapped(self, index: PlaneIndex, camera_count: int | None) -> None:
        """A core whose camera failed to deliver hands out the image before, with its old count."""
        if camera_count is not None and camera_count == self._last_snapped:
            raise FrameError(f"the camera gave no new frame for {index}: number {camera_count} came once more")
        self._last_snapped = camera_count

    def complete(self) -> list[SequenceEnded]:
        """Return the announced sequence whose last frame was just counted, if it was the last one."""
        with self._lock:
            if self._open and self._open[0].planes and self._open[0].n_received >= self._open[0].n_expected:
                return [self._open.popleft().ended()]
            return []

    def close(self, problem: str | None = None) -> list[SequenceEnded]:
        """The acquisition is over; what is still open ends now, with what the engine complained about."""
        with self._lock:
            if self._open and problem:
                self._open[0].problems.append(problem)
            if self._open and not self._open[0].planes:
                self._guess_expected(self._open[0], len(self._order))
            ended = [sequence.ended() for sequence in self._open]
            self._open.clear()
            return ended

    def _end_before(self, index: PlaneIndex, image_number: int | None) -> list[SequenceEnded]:
        if not self._open:
            return []
        if self._open[0].planes:
            later = any(index in sequence.planes for sequence in list(self._open)[1:])
            return [] if index in self._open[0].planes or not later else self._end_until(index)
        if image_number is None or image_number <= (self._last_image_number or 0):
            self._guess_expected(self._open[0], self._order.get(index, 0))
            return [self._open.popleft().ended()]
        return []

    def _end_until(self, index: PlaneIndex) -> list[SequenceEnded]:
        ended = []
        while index not in self._open[0].planes:
            ended.append(self._open.popleft().ended())
        return ended

    def _sequence_of(self, index: PlaneIndex, image_number: int | None) -> _Open | None:
        if self._open and self._open[0].planes:
            return self._open[0] if index in self._open[0].planes else None
        if image_number is None:
            return None
        if not self._open:
            self._open.append(_Open(self._n_begun, frozenset(), 0))
            self._first_place = self._order.get(index)
            self._n_begun += 1
        self._last_image_number = image_number
        return self._open[0]

    def _guess_expected(self, sequence: _Open, next_place: int) -> None:
        """A sequence that was not announced reaches in the plan from its first frame to the next one's."""
        known = self._first_place is not None and next_place > self._first_place
        sequence.n_expected = next_place - (self._first_place or 0) if known else sequence.n_received


def _check_count(sequence: _Open, camera_count: int | None) -> None:
    last, sequence.last_camera_count = sequence.last_camera_count, camera_count
    if last is None or camera_count is None or camera_count == last + 1:
        return
    said = "sent the same frame again" if camera_count == last else f"jumped from {last} to {camera_count}"
    sequence.problems.append(f"the camera's counter {said} at frame {sequence.n_received - 1}")
