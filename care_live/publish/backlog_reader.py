"""Volumes that have left the memory, read back from the store in a thread of its own, one at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from care_live.errors import CareLiveError
from care_live.images import Restored, Volume, VolumeKey
from care_live.publish.encoder import Encoded, Encoder
from care_live.publish.log import Entry
from care_live.publish.worker_thread import WorkerThread
from care_live.wire.fields import RequestId
from care_live.wire.messages import View

logger = logging.getLogger(__name__)

ReadStored: TypeAlias = Callable[[VolumeKey], Restored | Volume | None]
"""Returns a volume from the store: restored, or raw only, or None where there is none."""

Purpose = Literal["newest", "replay", "fetch"]


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """One volume that must be sent to a watcher."""

    peer: bytes
    client: Hashable
    """The client whose share of the time it takes."""
    purpose: Purpose
    entry: Entry
    key: VolumeKey
    view: View
    id: RequestId


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a volume is not available."""

    reason: Literal["not-stored", "unreadable"]
    detail: str


Outcome: TypeAlias = Encoded | Unavailable


class BacklogReader:
    """Reads and encodes volumes for watchers that fell far behind, so that the others don't wait for the disk.

    Parameters
    ----------
    read
        Called in the reader's thread; None: the daemon stores nothing.
    encoder
        Makes the messages.
    announce
        Called there when a volume is ready to be taken.
    """

    def __init__(self, read: ReadStored | None, encoder: Encoder, announce: Callable[[], None]) -> None:
        self._read, self._encoder = read, encoder
        self._worker: WorkerThread[Due, Outcome] = WorkerThread("publish-backlog", self._answer, announce)

    def ask(self, due: Due) -> None:
        """Have a volume read."""
        self._worker.put(due.client, due)

    def take(self) -> list[tuple[Due, Outcome]]:
        """Return what was read since the last time."""
        return self._worker.take()

    def discard(self, client: Hashable) -> None:
        """Drop the requests of a client that has disconnected."""
        self._worker.discard(client)

    def close(self) -> None:
        self._worker.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the thread; False when it does not end in time."""
        return self._worker.join(timeout_s)

    def _answer(self, due: Due) -> Outcome:
        try:
            return self._found(due)
        except (CareLiveError, OSError) as error:
            logger.warning("backlog unreadable t=%d p=%d c=%d error=%s", *due.key, error)
            return Unavailable("unreadable", str(error)[:500])
        except Exception as error:  # the thread boundary: the watcher gets a gap, all others go on
            logger.exception("backlog failed t=%d p=%d c=%d", *due.key)
            return Unavailable("unreadable", str(error)[:500])

    def _found(self, due: Due) -> Outcome:
        if self._read is None:
            return Unavailable("not-stored", "it has left the memory and there is no store to read")
        found = self._read(due.key)
        if found is None:
            return Unavailable("not-stored", f"the store has no volume {tuple(due.key)}")
        if due.purpose != "fetch" and due.entry.restored and isinstance(found, Volume):
            return Unavailable("not-stored", "of this restored volume the store has only the raw one (yet): fetch it")
        return self._encoder.volume(due.entry, found, due.view, keep=False)


def encode(encoder: Encoder, due: Due) -> Outcome:
    """Encode a volume that is in memory."""
    record = due.entry.record
    assert isinstance(record, Restored | Volume)
    try:
        return encoder.volume(due.entry, record, due.view, keep=due.purpose != "fetch")
    except Exception as error:  # noqa: BLE001 - the thread boundary: the watcher gets a gap, all others go on
        logger.warning("volume unsendable seq=%d error=%s", due.entry.seq, error)
        return Unavailable("unreadable", str(error)[:500])
