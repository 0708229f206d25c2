"""Which hardware sequence delivered a frame, and whether that sequence was whole.

Engines give frames of a hardware sequence their axes by counting, so one lost or doubled frame shifts all the
later ones without an error. The evidence: the count at the sequence's end, a jump of the camera's own counter, and
errors of the engine. The engine's hardware hook announces a sequence; where the hook is missing, the core's
``ImageNumber`` shows it, because only sequenced frames have one and it begins anew with each sequence.

Micro-Manager's Java engine counts the frames of several cameras together, so that one camera that is ahead of the
other gets the other's heights. Each camera delivers its own frames in order: in an announced sequence its own count
is the number of the plane.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from care_live.errors import FrameError
from care_live.images import PlaneIndex, SequenceEnded

Camera = str
"""A camera's label; "" where there is only one."""


class Counted(NamedTuple):
    """A frame, as the watch places it."""

    plane: PlaneIndex
    sequence_id: int | None
    """None: snapped."""
    ended: list[SequenceEnded]
    """Sequences that ended before it."""
    is_stale: bool = False
    """It repeats the snapped frame before: the camera gave no new one."""


@dataclass(slots=True)
class _Open:
    sequence_id: int
    planes: Mapping[Camera, Sequence[PlaneIndex]]
    """Of each camera, in the order in which they are exposed. Empty: not announced, so not known."""
    n_expected: int
    received: Counter[Camera] = field(default_factory=Counter)
    last_camera_count: dict[Camera, int | None] = field(default_factory=dict)
    last_index: dict[Camera, PlaneIndex] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    every_plane: frozenset[PlaneIndex] = frozenset()

    def __post_init__(self) -> None:
        self.every_plane = frozenset(index for planes in self.planes.values() for index in planes)

    @property
    def n_received(self) -> int:
        return self.received.total()

    def place(self, index: PlaneIndex, camera: Camera, image_number: int | None) -> PlaneIndex:
        """Count a frame; return which plane it is.

        Raises
        ------
        FrameError
            This camera has delivered all its planes.
        """
        n_before = self.received[camera]
        self.received[camera] += 1
        if self.last_index.get(camera) == index and len(self.planes) < 2:
            self.problems.append(f"plane {tuple(index)} came twice in a row from the same camera")
        self.last_index[camera] = index
        return self._by_own_count(camera, n_before, image_number) if len(self.planes) > 1 else index

    def _by_own_count(self, camera: Camera, n_before: int, image_number: int | None) -> PlaneIndex:
        planes = self.planes.get(camera, ())
        if image_number is not None and image_number != n_before:
            self.problems.append(f"camera {camera!r} counts frame {image_number} where {n_before} came before")
        if n_before >= len(planes):
            self.problems.append(f"camera {camera!r} gave more than its {len(planes)} frames")
            raise FrameError(f"camera {camera!r} gave more than the {len(planes)} frames of its hardware sequence")
        return planes[n_before]

    def ended(self) -> SequenceEnded:
        if self.n_received != self.n_expected:
            self.problems.append(f"{self.n_received} of {self.n_expected} frames came")
        problem = "; ".join(self.problems) or None
        return SequenceEnded(self.sequence_id, self.n_expected, self.n_received, problem)


class SequenceWatch:
    """Follows the hardware sequences of one acquisition; announced by one thread, counted by another.

    Parameters
    ----------
    order : planned planes, those of one event (one a camera) side by side
    n_cameras : that give a frame for every event
    """

    def __init__(self, order: Sequence[PlaneIndex] = (), *, n_cameras: int = 1) -> None:
        self._order = {index: place for place, index in enumerate(order)}
        self._n_cameras = n_cameras
        self._lock = threading.Lock()
        self._open: deque[_Open] = deque()
        self._n_begun = 0
        self._last_image_number: dict[Camera, int] = {}
        self._first_place: int | None = None
        self._last_snapped: dict[Camera, int | None] = {}

    def announce(self, planes: Mapping[Camera, Sequence[PlaneIndex]]) -> None:
        """The engine is about to run these planes of each camera as one hardware sequence."""
        with self._lock:
            self._open.append(_Open(self._n_begun, planes, sum(map(len, planes.values()))))
            self._n_begun += 1

    def take(
        self,
        index: PlaneIndex,
        *,
        camera: Camera = "",
        image_number: int | None = None,
        camera_count: int | None = None,
    ) -> Counted:
        """Count a frame that the engine calls *index*.

        Raises
        ------
        FrameError
            Its camera has delivered all planes of its sequence.
        """
        with self._lock:
            ended = self._end_before(index, camera, image_number)
            sequence = self._sequence_of(index, camera, image_number)
            if sequence is None:
                return Counted(index, None, ended, self._is_stale(camera, camera_count))
            index = sequence.place(index, camera, image_number)
            _check_count(sequence, camera, camera_count)
            return Counted(index, sequence.sequence_id, ended)

    def _is_stale(self, camera: Camera, camera_count: int | None) -> bool:
        """Recognise the image before, which a core returns with its old count when the camera delivered none."""
        last = self._last_snapped.get(camera)
        self._last_snapped[camera] = camera_count
        return camera_count is not None and camera_count == last

    def complete(self) -> list[SequenceEnded]:
        """Return the announced sequence whose last frame was just counted, if it was the last one."""
        with self._lock:
            if self._open and self._open[0].planes and self._open[0].n_received >= self._open[0].n_expected:
                return [self._open.popleft().ended()]
            return []

    def close(self, problem: str | None = None) -> list[SequenceEnded]:
        """The acquisition is over; open sequences end now, with the engine's error."""
        with self._lock:
            if self._open and problem:
                self._open[0].problems.append(problem)
            if self._open and not self._open[0].planes:
                self._guess_expected(self._open[0], len(self._order))
            ended = [sequence.ended() for sequence in self._open]
            self._open.clear()
            return ended

    def _end_before(self, index: PlaneIndex, camera: Camera, image_number: int | None) -> list[SequenceEnded]:
        if not self._open:
            return []
        if self._open[0].planes:
            later = any(index in sequence.every_plane for sequence in list(self._open)[1:])
            return [] if index in self._open[0].every_plane or not later else self._end_until(index)
        if image_number is None or image_number <= self._last_image_number.get(camera, -1):
            self._guess_expected(self._open[0], self._place_of(index) or 0)
            return [self._open.popleft().ended()]
        return []

    def _end_until(self, index: PlaneIndex) -> list[SequenceEnded]:
        ended = []
        while index not in self._open[0].every_plane:
            ended.append(self._open.popleft().ended())
        return ended

    def _sequence_of(self, index: PlaneIndex, camera: Camera, image_number: int | None) -> _Open | None:
        if self._open and self._open[0].planes:
            return self._open[0] if index in self._open[0].every_plane else None
        if image_number is None:
            return None
        if not self._open:
            self._open.append(_Open(self._n_begun, {}, 0))
            self._first_place = self._place_of(index)
            self._last_image_number.clear()
            self._n_begun += 1
        self._last_image_number[camera] = image_number
        return self._open[0]

    def _place_of(self, index: PlaneIndex) -> int | None:
        """Return how many planes are planned before the event of this one: either camera may be the first."""
        place = self._order.get(index)
        return None if place is None else place - place % self._n_cameras

    def _guess_expected(self, sequence: _Open, next_place: int) -> None:
        """A sequence that was not announced reaches in the plan from its first frame to the next one's."""
        known = self._first_place is not None and next_place > self._first_place
        sequence.n_expected = next_place - (self._first_place or 0) if known else sequence.n_received


def _check_count(sequence: _Open, camera: Camera, camera_count: int | None) -> None:
    last = sequence.last_camera_count.get(camera)
    sequence.last_camera_count[camera] = camera_count
    if last is None or camera_count is None or camera_count == last + 1:
        return
    said = "sent the same frame again" if camera_count == last else f"jumped from {last} to {camera_count}"
    sequence.problems.append(f"the camera's counter {said} at frame {sequence.n_received - 1}")
