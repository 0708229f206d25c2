"""One volume that goes through the network while it is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from care_live.errors import CareLiveError, OutOfMemoryError, RestoreError
from care_live.images import Counts
from care_live.percentiles import Histogram, Span, histogram
from care_live.reasons import Choice, whole
from care_live.restore.choice import broken
from care_live.restore.in_flight import PlaneProgress
from care_live.restore.repair import Maps

if TYPE_CHECKING:  # it runs a stream that was begun elsewhere
    from care_live.planewise.tiles import FieldStream
    from care_live.restore.two_d import FlatStream


class VolumeStream:
    """Planes of all channels go in, in any order; what fails on the way only means that the whole volume is restored.

    Parameters
    ----------
    stream : of the whole field; of a 2D network, one that takes each plane alone
    recorded : (z, y, x) of each channel, being filled
    spans : ranges that its normalisation was begun with, of each channel
    into : maps that it fills
    """

    def __init__(
        self,
        stream: FieldStream | FlatStream,
        recorded: Sequence[Counts],
        spans: Sequence[Span],
        into: Maps,
        *,
        choice: Choice,
        progress: PlaneProgress,
    ) -> None:
        self._stream: FieldStream | FlatStream | None = stream
        self._recorded, self._spans, self.into, self._progress = recorded, tuple(spans), into, progress
        self.choice = choice
        """Why it was worth while; once it has ended early, why the whole volume must be restored instead."""
        self._counts: dict[int, Histogram] = {}
        self._placed: set[tuple[int, int]] = set()
        self.out_of_memory = False

    def place(self, channel: int, z: int) -> None:
        """Take one plane that was recorded, and do all that it makes possible."""
        if self._stream is not None and (channel, z) not in self._placed:
            try:
                self._take(channel, z, self._recorded[channel][z])
            except (CareLiveError, MemoryError) as error:
                self.out_of_memory = isinstance(error, OutOfMemoryError | MemoryError)
                self.abandon(broken(error))
        n_restored = 0 if self._stream is None else self._stream.n_restored
        self._progress.note(self._progress.n_taken + 1, n_restored)

    def _take(self, channel: int, z: int, pixels: Counts) -> None:
        assert self._stream is not None
        counts = histogram(pixels)
        self._counts[channel] = self._counts[channel] + counts if channel in self._counts else counts
        self._placed.add((channel, z))
        self._stream.place(channel, z, pixels)

    def counts(self, n_planes: int) -> tuple[Histogram, ...] | None:
        """Return the histogram of each channel, if all planes were placed."""
        if len(self._placed) != n_planes * len(self._spans):
            return None
        return tuple(self._counts[channel] for channel in range(len(self._spans)))

    def finish(self, spans: Sequence[Span], maps: Maps) -> bool:
        """Return whether `maps` hold the restored volume: all planes came, and the range is the one begun with."""
        if self._stream is not None and (maps is not self.into or tuple(spans) != self._spans):
            self.abandon(whole("range-changed"))
        if self._stream is not None:
            try:
                self._stream.finish()
            except RestoreError as error:
                self.abandon(broken(error))
        return self._stream is not None

    def abandon(self, choice: Choice) -> None:
        """Forget the stream, whose sessions keep memory; the first reason is kept."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self.choice = choice
            stream.abandon()
