"""What a source gives of the acquisitions of a real window, compared with what was acquired there."""

from __future__ import annotations

import zlib
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from care_live.errors import SourceError
from care_live.images import Counts, Frame, PlaneIndex, RunEnded, RunStarted
from care_live.recorded import open_recording
from care_live.source.studio import StudioSource

_LOOKS = 1200
"""Tenths of a second."""


@dataclass
class Came:
    """One run, as far as it came."""

    source: StudioSource
    started: RunStarted | None = None
    planes: dict[PlaneIndex, int] = field(default_factory=dict)
    ended: RunEnded | None = None

    def until(self, n_planes: int | None = None) -> None:
        """Take events until that many planes came, or to the end."""
        for _ in range(_LOOKS):
            event = self.source.next_event(0.1)
            if isinstance(event, RunStarted):
                self.started = event
            elif isinstance(event, Frame):
                assert event.index not in self.planes
                self.planes[event.index] = checksum(event.pixels)
            elif isinstance(event, RunEnded):
                self.ended = event
            if self.ended or (n_planes is not None and len(self.planes) >= n_planes):
                return
        pytest.fail(f"no end: {len(self.planes)} planes came")


def checksum(pixels: Counts) -> int:
    return zlib.crc32(pixels.tobytes())


def checksums(data_set: Path) -> dict[PlaneIndex, int]:
    with closing(open_recording(data_set)) as recording:
        return {index: checksum(recording.read_plane(index)) for index in recording.contents.order}


def is_closed(data_set: Path) -> bool:
    """Micro-Manager says that it has ended an acquisition before it cuts the files to their length."""
    try:
        return bool(checksums(data_set))
    except SourceError:
        return False
