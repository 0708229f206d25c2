"""One time point at the daemon's end of a link: which planes were sent, and what has come back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ProtocolError
from care_live.maps import Head
from care_live.restore.in_flight import PlaneProgress
from care_live.worker import protocol
from care_live.worker.remote_protocol import MapPlanes, RawPlanes, planes_in, runs
from care_live.worker.shared_memory import SegmentView


class RemoteVolume:
    """Shared memory that another machine fills through messages.

    Parameters
    ----------
    asked : what names the memory
    view : of the daemon's own segments
    """

    def __init__(self, asked: protocol.Begin | protocol.Work, view: SegmentView) -> None:
        self._pixels = [view.array(place) for place in asked.pixels]
        self._maps: dict[Head, NDArray[np.float32]] = {head: view.array(place) for head, place in asked.results.items()}
        self._progress = PlaneProgress(view.array(asked.progress)) if isinstance(asked, protocol.Begin) else None
        self._sent: set[tuple[int, int]] = set()
        self._came = {head: np.zeros(array.shape[:2], bool) for head, array in self._maps.items()}

    def copies(self, planes: Sequence[tuple[int, int]]) -> list[NDArray[Any]]:
        """Return planes, by channel and z, to be sent while the volume is recorded: its memory may be given up."""
        self._sent.update(planes)
        return [self._pixels[channel][z].copy() for channel, z in planes]

    def rest(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Yield runs of planes that were not sent: channel, z of the first one, and the planes."""
        for channel, array in enumerate(self._pixels):
            missing = [z for z in range(len(array)) if (channel, z) not in self._sent]
            for planes in _ranges(missing):
                for z, part in runs(array, planes):
                    yield channel, z, part

    def take(self, header: MapPlanes, part: memoryview) -> None:
        """Take planes of a result.

        Raises
        ------
        ProtocolError
            There is no such place.
        """
        array = self._maps.get(header.head)
        if array is None or header.c >= len(array):
            raise ProtocolError(f"planes of {header.head} {header.c} came, which were not asked for")
        planes = planes_in(part, array[header.c])
        if planes is None or header.z + len(planes) > array.shape[1]:
            raise ProtocolError(f"{len(part)} bytes came as planes of {header.head} from z={header.z} on")
        array[header.c, header.z : header.z + len(planes)] = planes
        self._came[header.head][header.c, header.z : header.z + len(planes)] = True

    def note(self, n_taken: int, n_restored: int, shown: Sequence[Head]) -> None:
        """Note how far the other machine is; of restored planes, as many as have come.

        Parameters
        ----------
        shown : maps that are shown plane by plane
        """
        if self._progress is not None:
            came = [self._came[head][:, :n_restored].all(0) for head in shown if head in self._came]
            n_came = min((int(np.argmin(np.append(one, False))) for one in came), default=0)
            self._progress.note(n_taken, n_came)

    def check(self, done: protocol.Done) -> None:
        """Refuse an answer whose planes have not come.

        Raises
        ------
        ProtocolError
            Something lacks.
        """
        if len(done.results) != len(done.maps) or not done.maps:
            raise ProtocolError(f"{len(done.results)} results came with maps of {len(done.maps)}")
        for c, heads in enumerate(done.maps):
            for head in heads:
                came: Mapping[Head, NDArray[np.bool_]] = self._came
                if head not in came or c >= len(came[head]) or not came[head][c].all():
                    raise ProtocolError(f"not all planes of {head} {c} have come")


def header_of(session: int, asked: protocol.Work, channel: int, z: int) -> RawPlanes:
    """Return what is sent with planes of an ordered volume."""
    return RawPlanes(session, asked.volumes[0].key, channel, z)


def _ranges(numbers: Sequence[int]) -> Iterator[range]:
    """Yield what follows on one another.

    >>> list(_ranges([1, 2, 5]))
    [range(1, 3), range(5, 6)]
    """
    begun = 0
    for end in range(1, len(numbers) + 1):
        if end == len(numbers) or numbers[end] != numbers[end - 1] + 1:
            yield range(numbers[begun], numbers[end - 1] + 1)
            begun = end
