"""Entries of the log as messages, encoded once for all who want the same view."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from msgspec import UNSET

from care_live.errors import ProtocolError
from care_live.images import ModelIdentity, NotRestored, Plan, Restored, RunEnded, RunStarted, StateChanged, Volume
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
MAX_NOTED = 64
"""Notes that are kept encoded, for all who are sent them."""
LEFT_OUT: tuple[tuple[str, ...], ...] = (
    (),
    *((part,) for part in ("summary", "card", "positions", "channels", "stacks")),
    ("positions", "stacks"),
    ("summary", "positions", "channels"),
    ("summary", "card", "positions", "channels"),
    ("summary", "card", "positions", "channels", "stacks"),
)
"""What a start message that is too long leaves out: the first of these that makes it fit."""


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
        self._noted: dict[int, tuple[int, Parts]] = {}
        """Notes by number, with the newest number that they state (-1: none)."""
        self._plan: tuple[Plan, messages.PlanHeader] | None = None

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
        """Return the message of an entry that is no volume.

        Raises
        ------
        ProtocolError
            It can't be said: a field is not as the specification says.
        """
        assert entry.record is not None
        newest = self._log.end - 1 if isinstance(entry.record, RunStarted) else -1
        if self._noted.get(entry.seq, (None, None))[0] != newest:
            self._noted[entry.seq] = newest, self._encode_note(entry.seq, entry.record)
            while len(self._noted) > MAX_NOTED:
                del self._noted[next(iter(self._noted))]
        return self._noted[entry.seq][1]

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

    def _encode_note(self, seq: int, record: Record) -> Parts:
        return self._start(seq, record) if isinstance(record, RunStarted) else cl1.encode(self._note(seq, record))

    def _start(self, seq: int, started: RunStarted) -> Parts:
        """Return a start message, without what is too long for its header; it says what it leaves out."""
        too_many = len(started.plan.stacks) > describe.MAX_PLANNED
        if self._plan is None or self._plan[0] is not started.plan:
            said = replace(started.plan, stacks={}) if too_many else started.plan
            self._plan = started.plan, describe.plan_header(said)
        for left_out in LEFT_OUT[:-1]:
            with contextlib.suppress(ProtocolError):
                if "stacks" in left_out or not too_many:
                    return cl1.encode(self._start_without(left_out, seq, started))
        return cl1.encode(self._start_without(LEFT_OUT[-1], seq, started))

    def _start_without(self, left_out: tuple[str, ...], seq: int, started: RunStarted) -> messages.Start:
        assert self._plan is not None
        return messages.Start(
            **self._run.said,
            seq=seq,
            plan=describe.without(self._plan[1], left_out),
            summary={} if "summary" in left_out else dict(started.summary),
            card={} if "card" in left_out else self._run.card,
            newest=self._log.end - 1,
            left_out=left_out or UNSET,
        )

    def _note(self, seq: int, record: Record) -> messages.Message:
        said = self._run.said | {"seq": seq}
        match record:
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
