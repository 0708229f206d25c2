"""Entries of the log as messages, encoded once for all who want the same view."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from msgspec import UNSET

from care_live.images import ModelIdentity, NotRestored, Restored, RunEnded, RunStarted, StateChanged, Volume
from care_live.publish import describe
from care_live.publish.clock import SessionClock
from care_live.publish.log import Entry, Log, Record
from care_live.publish.slabs import RestoredSlab
from care_live.wire import arrays, cl1, messages
from care_live.wire.arrays import Buffer
from care_live.wire.messages import View

Parts: TypeAlias = list[Buffer]

CACHE_BYTES = 128 * 1024**2
MAX_DETAIL = 500


@dataclass(slots=True)
class Run:
    """What every message says of the run."""

    session: str
    run: str | None = None
    model: ModelIdentity | None = None
    card: dict[str, Any] = field(default_factory=dict)
    broadcast_port: int | None = None

    @property
    def said(self) -> dict[str, Any]:
        return {"run": self.run, "session": self.session, "model": describe.model_header(self.model)}


class Writer:
    """Makes messages for one session; used by one thread."""

    def __init__(self, run: Run, log: Log, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._run, self._log, self._clock_ns = run, log, clock_ns
        self._session_clock = SessionClock()
        self._cache: OrderedDict[tuple[object, ...], Parts] = OrderedDict()
        self._cached_bytes = 0

    @property
    def session(self) -> str:
        return self._run.session

    def volume(self, entry: Entry, record: Restored | Volume, view: View) -> Parts:
        """Return a volume message; the same parts again for the same view."""
        raw = record if isinstance(record, Volume) else record.volume
        state = self._log.state_of(raw)
        wanted = (entry.seq, record.key, type(record), state, view)
        if wanted not in self._cache:
            self._keep(wanted, self._encode_volume(entry, record, view))
        self._cache.move_to_end(wanted)
        return self._cache[wanted]

    def note(self, entry: Entry) -> Parts:
        """Return the message of an entry that is no volume."""
        assert entry.record is not None
        return cl1.encode(self._noted(entry.seq, entry.record))

    def slab(self, slab: RestoredSlab, view: View) -> Parts:
        headers, buffers = describe.pictures(slab.products(), view)
        message = messages.Slab(
            **self._run.said,
            key=slab.key,
            state="provisional",
            arrays=headers,
            published_us=self._session_clock.now_us(),
            z_first=slab.z_first,
            n_planes=slab.n_planes,
        )
        return cl1.encode(message, buffers)

    def heartbeat(self, status: messages.Status, n_watchers: int) -> Parts:
        newest = self._log.end - 1
        return cl1.encode(
            messages.Heartbeat(
                **self._run.said,
                newest=newest if newest >= 0 else None,
                now_us=self._session_clock.now_us(),
                status=status,
                n_watchers=n_watchers,
                broadcast_port=self._run.broadcast_port,
            )
        )

    def gap(self, reason: str, detail: str = "", **which: Any) -> Parts:
        return cl1.encode(messages.Gap(**self._run.said, reason=reason, detail=detail[:MAX_DETAIL], **which))  # type: ignore[arg-type]

    def refused(self, reason: str, detail: str) -> Parts:
        return cl1.encode(messages.Refused(**self._run.said, reason=reason, detail=detail[:MAX_DETAIL]))  # type: ignore[arg-type]

    def _encode_volume(self, entry: Entry, record: Restored | Volume, view: View) -> Parts:
        raw = record if isinstance(record, Volume) else record.volume
        headers, buffers = describe.pictures(describe.products_of(record), view)
        said = self._run.said | {"model": describe.model_header(record.model if isinstance(record, Restored) else None)}
        message = messages.Volume(
            **said,
            **describe.volume_fields(record, self._log.state_of(raw)),
            seq=entry.seq if entry.seq >= 0 else None,
            nth=entry.nth,
            was_restored=True if entry.restored and isinstance(record, Volume) else UNSET,
            arrays=headers,
            published_us=self._session_clock.now_us(),
            age_us=(self._clock_ns() - raw.last_plane_ns) // 1000,
        )
        return cl1.encode(message, buffers)

    def _noted(self, seq: int, record: Record) -> messages.Message:
        said = self._run.said | {"seq": seq}
        match record:
            case RunStarted():
                plan = describe.plan_header(record.plan)
                summary, newest = dict(record.summary), self._log.end - 1
                return messages.Start(**said, plan=plan, summary=summary, card=self._run.card, newest=newest)
            case StateChanged():
                return messages.Change(**said, key=record.key, state=record.state, detail=record.detail[:MAX_DETAIL])
            case NotRestored():
                return messages.Skipped(**said, key=record.key, reason=record.reason, detail=record.detail[:MAX_DETAIL])
            case RunEnded():
                return messages.End(
                    **said,
                    reason=record.reason,
                    detail=record.detail[:MAX_DETAIL],
                    n_delivered=record.n_delivered,
                    n_refused=record.n_refused,
                )
        raise AssertionError(f"{type(record).__name__} is no note")

    def _keep(self, wanted: tuple[object, ...], parts: Parts) -> None:
        self._cache[wanted] = parts
        self._cached_bytes += _size(parts)
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= _size(dropped)


def _size(parts: Parts) -> int:
    return sum(arrays.as_bytes(part).nbytes for part in parts)
