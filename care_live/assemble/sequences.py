"""Whether the indices of hardware-sequenced frames are right, which is known only afterwards.

Engines label the frames of a hardware sequence by counting. One lost or doubled frame shifts every later
label, and the engine cannot know it before the sequence ends, unless the camera counts its frames itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from care_live.images import Frame, PlaneIndex, SequenceEnded, State, StateChanged, VolumeKey


@dataclass(slots=True)
class _Sequence:
    """One hardware sequence that runs on, or went wrong."""

    ended: bool = False
    problem: str | None = None
    last: tuple[int, PlaneIndex] | None = None
    """The camera's count and the label of the newest frame."""
    waiting: set[VolumeKey] = field(default_factory=set)
    """Closed volumes that it delivered planes of and that are not yet confirmed."""


class Sequences:
    """Every hardware sequence of a run, and the closed volumes that wait for its end."""

    def __init__(self) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._clean: set[int] = set()  # ended well: nothing more to know of them
        self._open_of: dict[VolumeKey, set[int]] = {}  # provisional volume: its sequences that run on

    @property
    def n_waiting(self) -> int:
        """Closed volumes that are still provisional."""
        return len(self._open_of)

    def watch(self, frame: Frame) -> list[StateChanged]:
        """Compare the camera's own counter with the one before; a jump makes the sequence suspect."""
        if frame.sequence_id is None or frame.sequence_id in self._clean:
            return []
        sequence = self._sequences.setdefault(frame.sequence_id, _Sequence())
        last = sequence.last
        sequence.last = None if frame.camera_count is None else (frame.camera_count, frame.index)
        jump = _jump(last, sequence.last)
        return [] if jump is None else self._condemn(sequence, f"hardware sequence {frame.sequence_id}: {jump}")

    def end(self, event: SequenceEnded) -> list[StateChanged]:
        """Confirm the volumes of a clean sequence, or turn those of a bad one to suspect."""
        sequence = self._sequences.setdefault(event.sequence_id, _Sequence())
        sequence.ended = True
        problem = event.problem
        if problem is None and event.n_received != event.n_expected:
            problem = f"{event.n_received} frames came, {event.n_expected} were expected"
        if problem is not None:
            return self._condemn(sequence, f"hardware sequence {event.sequence_id}: {problem}")
        return self._confirm(event.sequence_id, sequence)

    def cut_short(self) -> list[StateChanged]:
        """The run is over: a sequence whose end was not reported is suspect."""
        changes = []
        for number, sequence in self._sequences.items():
            if not sequence.ended:
                sequence.ended = True
                changes += self._condemn(sequence, f"hardware sequence {number} had not ended when the run did")
        return changes

    def judge(self, key: VolumeKey, sequence_ids: set[int]) -> State:
        """Return the state of a volume that closes now; a provisional one is reported on later."""
        sequences = {number: self._sequences[number] for number in sequence_ids - self._clean}
        if any(sequence.problem for sequence in sequences.values()):
            return "suspect"
        if not sequences:
            return "confirmed"
        self._open_of[key] = set(sequences)
        for sequence in sequences.values():
            sequence.waiting.add(key)
        return "provisional"

    def _condemn(self, sequence: _Sequence, problem: str) -> list[StateChanged]:
        sequence.problem = sequence.problem or problem
        keys, sequence.waiting = sorted(sequence.waiting), set()
        known = [key for key in keys if self._open_of.pop(key, None) is not None]
        return [StateChanged(key, "suspect", sequence.problem) for key in known]

    def _confirm(self, number: int, sequence: _Sequence) -> list[StateChanged]:
        if sequence.problem is not None:  # the camera's counter showed a jump
            return []
        del self._sequences[number]
        self._clean.add(number)
        for key in sequence.waiting:
            self._open_of.get(key, set()).discard(number)
        clean = [key for key in sorted(sequence.waiting) if self._open_of.get(key) == set()]
        for key in clean:
            del self._open_of[key]
        return [StateChanged(key, "confirmed") for key in clean]


def _jump(last: tuple[int, PlaneIndex] | None, now: tuple[int, PlaneIndex] | None) -> str | None:
    """Return how the camera's counter disagrees with the labels, or None when it does not."""
    if last is None or now is None:
        return None
    step = now[0] - last[0]
    if step == 1:
        return None
    if last[1].volume == now[1].volume and now[1].z - last[1].z == step:
        return None  # the labels jumped by as much: the frames between were refused after they got theirs
    return f"the camera's counter went from {last[0]} to {now[0]}"
