"""Messages without arrays: notes of the log, heartbeats, gaps and refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from care_live.errors import ProtocolError
from care_live.images import NotRestored, Plan, RunEnded, RunStarted, StateChanged
from care_live.publish import describe
from care_live.publish.log import Entry, Log, LogRecord
from care_live.wire import cl1, messages, plans
from care_live.wire.codec import record_of
from care_live.wire.daemon_status import Status

if TYPE_CHECKING:  # the caller has encoded the arrays
    from care_live.publish.encoder import Parts, Run

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


class MessageWriter:
    """Makes messages for one session; used by one thread."""

    def __init__(self, run: Run, log: Log) -> None:
        self._run, self._log = run, log
        self._noted: dict[int, tuple[int, messages.Message]] = {}
        """Notes by number, with the newest number that they state (-1: none)."""
        self._plan: tuple[Plan, plans.PlanHeader] | None = None

    @property
    def session(self) -> str:
        return self._run.session

    def note(self, entry: Entry, **more: object) -> Parts:
        """Return the message of an entry that is no volume.

        Parameters
        ----------
        more : fields of a broadcast: count

        Raises
        ------
        ProtocolError
            It can't be encoded: a field differs from the specification.
        """
        message = self._message(entry)
        return cl1.encode(msgspec.structs.replace(message, **more) if more else message)

    def _message(self, entry: Entry) -> messages.Message:
        assert entry.record is not None
        newest = self._log.end - 1 if isinstance(entry.record, RunStarted) else -1
        if self._noted.get(entry.seq, (None, None))[0] != newest:
            self._noted[entry.seq] = newest, self._make(entry.seq, entry.record)
            while len(self._noted) > MAX_NOTED:
                del self._noted[next(iter(self._noted))]
        return self._noted[entry.seq][1]

    def heartbeat(self, status: Status, n_watchers: int, **more: Any) -> Parts:
        newest = self._log.end - 1
        return cl1.encode(
            messages.Heartbeat(
                **self._run.fields,
                newest=newest if newest >= 0 else None,
                now_us=self._run.clock.now_us(),
                status=status,
                n_watchers=n_watchers,
                broadcast_port=self._run.broadcast_port,
                **more,
            )
        )

    def gap(self, reason: str, detail: str = "", **which: Any) -> Parts:
        return cl1.encode(messages.Gap(**self._run.fields, reason=reason, detail=detail[:MAX_DETAIL], **which))

    def refused(self, reason: str, detail: str) -> Parts:
        return cl1.encode(messages.Refused(**self._run.fields, reason=reason, detail=detail[:MAX_DETAIL]))

    def _make(self, seq: int, record: LogRecord) -> messages.Message:
        return self._start(seq, record) if isinstance(record, RunStarted) else self._note(seq, record)

    def _start(self, seq: int, started: RunStarted) -> messages.Start:
        """Return a start message, without what is too long for its header; it says what it leaves out."""
        too_many = len(started.plan.stacks) > plans.MAX_PLANNED
        if self._plan is None or self._plan[0] is not started.plan:
            plan = replace(started.plan, stacks={}) if too_many else started.plan
            self._plan = started.plan, plans.plan_header(plan)
        for left_out in LEFT_OUT[:-1]:
            start = self._start_without(left_out, seq, started)
            if _fits(start) and ("stacks" in left_out or not too_many):
                return start
        return self._start_without(LEFT_OUT[-1], seq, started)

    def _start_without(self, left_out: tuple[str, ...], seq: int, started: RunStarted) -> messages.Start:
        assert self._plan is not None
        return messages.Start(
            **self._run.fields,
            seq=seq,
            plan=plans.without(self._plan[1], left_out),
            summary={} if "summary" in left_out else dict(started.summary),
            **describe.network_fields(self._run.networks, with_cards="card" not in left_out),
            newest=self._log.end - 1,
            left_out=left_out or UNSET,
        )

    def _note(self, seq: int, record: LogRecord) -> messages.Message:
        fields = self._run.fields | {"seq": seq, "detail": getattr(record, "detail", "")[:MAX_DETAIL]}
        match record:
            case StateChanged():
                return record_of(messages.Change, record, **fields)
            case NotRestored():
                return record_of(messages.Skipped, record, **fields)
            case RunEnded():
                return record_of(messages.End, record, **fields)
        raise AssertionError(f"{type(record).__name__} is not a note")


def _fits(start: messages.Start) -> bool:
    """Return whether a message can be sent, to one watcher and by broadcast."""
    try:
        cl1.encode(msgspec.structs.replace(start, count=2**53 - 1))
    except ProtocolError:
        return False
    return True
