"""Volumes as messages, encoded once for all who want the same view; safe from several threads."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET

from care_live.images import NetworkInUse, Restored, Volume
from care_live.publish import describe
from care_live.publish.clock import SessionClock
from care_live.publish.log import Entry, Log
from care_live.wire import arrays, cl1, messages
from care_live.wire.arrays import Buffer
from care_live.wire.messages import View

Parts: TypeAlias = list[Buffer]

CACHE_BYTES = 128 * 1024**2


@dataclass(slots=True)
class Run:
    """Facts of the run in every message."""

    session: str
    run: str | None = None
    networks: tuple[NetworkInUse, ...] = ()
    """The first one is said in every message."""
    broadcast_port: int | None = None
    clock: SessionClock = field(default_factory=SessionClock)

    @property
    def fields(self) -> dict[str, Any]:
        model = self.networks[0].identity if self.networks else None
        return {"run": self.run, "session": self.session, "model": describe.model_header(model)}


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A message with arrays, without the fields of its receiver."""

    message: messages.VolumeMessage | messages.Slab
    buffers: list[Buffer]

    def parts(self, **more: object) -> Parts:
        """Return what is sent; the buffers are shared.

        Parameters
        ----------
        more : fields that differ from one receiver to the next: id, count, not_made
        """
        return cl1.encode(msgspec.structs.replace(self.message, **more) if more else self.message, self.buffers)

    @property
    def nbytes(self) -> int:
        return sum(arrays.as_bytes(buffer).nbytes for buffer in self.buffers)


class Encoder:
    """Makes messages with arrays for one session."""

    def __init__(self, run: Run, log: Log, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._run, self._log, self._clock_ns = run, log, clock_ns
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[object, ...], Encoded] = OrderedDict()
        self._cached_bytes = 0

    def volume(self, entry: Entry, record: Restored | Volume, view: View, *, keep: bool = True) -> Encoded:
        """Return a volume message; the same again for the same view.

        Parameters
        ----------
        keep : others are likely to want the same

        Raises
        ------
        ProtocolError
            It can't travel.
        """
        raw = record if isinstance(record, Volume) else record.volume
        wanted = (entry.seq, record.key, type(record), self._log.state_of(raw), view)
        with self._lock:
            if wanted in self._cache:
                self._cache.move_to_end(wanted)
                return self._cache[wanted]
        encoded = self._encode(entry, record, view)
        if keep:
            self._keep(wanted, encoded)
        return encoded

    def _encode(self, entry: Entry, record: Restored | Volume, view: View) -> Encoded:
        raw = record if isinstance(record, Volume) else record.volume
        headers, buffers = describe.pictures(record, view)
        fields = self._run.fields | {
            "run": raw.run_id,
            "model": describe.model_header(record.model if isinstance(record, Restored) else None),
        }
        message = messages.VolumeMessage(
            **fields,
            **describe.volume_fields(record, self._log.state_of(raw)),
            seq=entry.seq if entry.seq >= 0 else None,
            nth=entry.nth,
            was_restored=True if entry.restored and isinstance(record, Volume) else UNSET,
            arrays=headers,
            published_us=self._run.clock.now_us(),
            age_us=self._age_us(raw),
        )
        encoded = Encoded(message, buffers)
        encoded.parts()  # raises what no receiver would take, before it is kept
        return encoded

    def _age_us(self, raw: Volume) -> int:
        """Return how long ago the last plane came; where the machine was started anew since, by the time of day."""
        age_us = (self._clock_ns() - raw.last_plane_ns) // 1000
        return age_us if age_us >= 0 else max(0, self._run.clock.now_us() - raw.acquired_us)

    def _keep(self, wanted: tuple[object, ...], encoded: Encoded) -> None:
        with self._lock:
            if wanted in self._cache:
                return
            self._cache[wanted] = encoded
            self._cached_bytes += encoded.nbytes
            while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
                _, dropped = self._cache.popitem(last=False)
                self._cached_bytes -= dropped.nbytes
