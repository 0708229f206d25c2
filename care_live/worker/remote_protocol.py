"""The messages between the daemon and a worker on another machine: orders and answers of inference, and pixels.

A message is one header, and behind it its arrays as they lie in memory. CURVE proves that no byte was changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from care_live.images import VolumeKey
from care_live.maps import Head
from care_live.wire.codec import Codec
from care_live.wire.keys import KeyPair
from care_live.worker import protocol

VERSION = 2
"""Both ends must have the same."""
BEAT_S = 0.5
"""A worker says at least so often that it is there, and the daemon answers."""
LOST_S = 3.0
"""After so much silence the daemon gives what the worker had to another one. Where its process ends, the connection is
closed, and that is noticed at the next beat."""
FORSAKEN_S = 15.0
"""After so much silence a worker ends: the daemon is gone, or will find another one."""
PART_BYTES = 4 * 1024**2
"""Planes travel in messages of about this size, so that each shows that the link is alive."""
MESSAGE_BYTES = 1024**3
QUEUED_BYTES = 128 * 1024**2
"""A worker for which more waits to be sent gets no planes of volumes that are being recorded."""
N_QUEUED = 4
"""Messages that ZeroMQ holds for a peer."""

_Name = Annotated[str, msgspec.Meta(max_length=256)]
_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
SessionNumber = Annotated[int, msgspec.Meta(ge=0)]
"""Counts the processes that the daemon has ordered: what belongs to one that is over is dropped. A worker may have
several: another network that is on trial, or the one before a swap, beside the one that restores."""


class WorkerFree(msgspec.Struct, frozen=True, tag=True):
    """A worker has nothing to do; said again until it has."""

    host: _Name
    left: int = -1
    """The last session, which is over, as are all before it; -1: there was none."""
    version: int = VERSION


class Beat(msgspec.Struct, frozen=True, tag=True):
    """A worker is there."""

    session: SessionNumber
    cpu_s: float
    """Processor time of its process."""
    progress: tuple[tuple[VolumeKey, _Count, _Count], ...] = ()
    """Planes taken and planes restored of volumes that are streamed."""


class WorkerAnswer(msgspec.Struct, frozen=True, tag=True):
    """What its process says."""

    session: SessionNumber
    answer: protocol.InferenceAnswer


class MapPlanes(msgspec.Struct, frozen=True, tag=True):
    """Planes of a result: float32, one part."""

    session: SessionNumber
    key: VolumeKey
    """Of the time point's first channel."""
    head: Head
    c: _Count
    """Counted among the outputs."""
    z: _Count
    """The first one."""


class Gone(msgspec.Struct, frozen=True, tag=True):
    """Its process is lost."""

    session: SessionNumber
    how: Annotated[str, msgspec.Meta(max_length=4000)]


class SessionStart(msgspec.Struct, frozen=True, tag=True):
    """Start a process; its files are the parts."""

    session: SessionNumber
    config: dict[str, Any]
    """What is set of `RestoreConfig`; its paths are names of files."""
    budgets_px: dict[int, int]
    files: tuple[_Name, ...]


class Order(msgspec.Struct, frozen=True, tag=True):
    """A message for the process; planes that are placed come with it, one part each."""

    session: SessionNumber
    request: protocol.InferenceRequest


class RawPlanes(msgspec.Struct, frozen=True, tag=True):
    """Planes of the volume that was ordered last, which did not come earlier: one part."""

    session: SessionNumber
    key: VolumeKey
    channel: _Count
    """Counted in the order of the network."""
    z: _Count
    """The first one."""


class Ping(msgspec.Struct, frozen=True, tag=True):
    """The daemon is there."""


class Leave(msgspec.Struct, frozen=True, tag=True):
    """End the process of this session, if there is one."""

    session: SessionNumber


class Dismiss(msgspec.Struct, frozen=True, tag=True):
    """End."""

    reason: str = ""
    """Why the daemon refuses this worker; empty: it needs no worker any more."""


FromWorker: TypeAlias = WorkerFree | Beat | WorkerAnswer | MapPlanes | Gone
ToSession: TypeAlias = SessionStart | Order | RawPlanes | Leave
ToWorker: TypeAlias = ToSession | Ping | Dismiss


def refusal(hello: WorkerFree) -> str:
    """Return why the daemon refuses a worker: it has another version; empty: it does not."""
    if hello.version == VERSION:
        return ""
    versions = f"the worker on {hello.host} has version {hello.version} of the link, the daemon has {VERSION}"
    return f"{versions}: install the same care_live on both"


from_worker: Codec[FromWorker] = Codec(FromWorker, "message of a worker", form="msgpack")
to_worker: Codec[ToWorker] = Codec(ToWorker, "message to a worker", form="msgpack")


@dataclass(frozen=True, slots=True)
class Invitation:
    """Where a worker finds the daemon; its key is made for this daemon's life and never written to a disk."""

    address: str
    own: KeyPair
    server_public: str


def runs(array: NDArray[Any], planes: range) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield runs of planes that one message carries, each with its first plane's number.

    Parameters
    ----------
    array : (z, y, x)
    planes : of these
    """
    step = max(1, PART_BYTES // max(1, array[0].nbytes))
    for z in planes[::step]:
        yield z, array[z : min(z + step, planes.stop)]


def planes_in(part: memoryview, like: NDArray[Any]) -> NDArray[Any] | None:
    """Return the planes of a part, (n, y, x); None: it does not consist of whole planes.

    Parameters
    ----------
    like : (z, y, x), with the type of the planes
    """
    n_bytes = int(np.prod(like.shape[1:])) * like.itemsize
    if not n_bytes or not len(part) or len(part) % n_bytes:
        return None
    return np.frombuffer(part, like.dtype).reshape(-1, *like.shape[1:])
