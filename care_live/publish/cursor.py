"""How a watcher follows a log: its next request, and which messages are new. Pure."""

from __future__ import annotations

from typing import Protocol

from care_live.publish.log import Series
from care_live.wire.messages import Gap, Message, Newest, Numbered, Replay, Start, View, VolumeMessage, WatcherRequest


class Following(Protocol):
    """What a subscriber needs to know of its mode."""

    n_lost: int
    """Numbers that were requested and answered with a gap."""
    costs: tuple[type, ...]
    """Messages that use up credit."""
    ask_after: int
    """Number of messages after which the next request is due."""

    def request(self, session: str | None) -> WatcherRequest | None:
        """Return what to ask so that more comes, or None: enough was asked, or the session is not known yet."""

    def is_news(self, message: Message) -> bool:
        """Note a message; return whether its reader should get it."""


class NewestOnly:
    """Requests the newest when it is wanted; volumes in between are skipped."""

    def __init__(self, view: View, credit: int, position: int | None, channel: int | None) -> None:
        self._view, self._credit, self._position, self._channel = view, credit, position, channel
        self._session: str | None = None
        self._newest: dict[Series, int] = {}
        self.n_lost, self.ask_after = 0, 1
        self.costs: tuple[type, ...] = (VolumeMessage,)
        self._last: int | None = None

    def request(self, session: str | None) -> WatcherRequest:
        return Newest(
            session=self._session,
            after=max(self._newest.values(), default=-1),
            last=self._last,
            credit=self._credit,
            p=self._position,
            c=self._channel,
            view=self._view,
        )

    def is_news(self, message: Message) -> bool:
        if message.session != self._session:
            self._session, self._last = message.session, None
            self._newest.clear()
        if isinstance(message, VolumeMessage):
            stream = (message.key[1], message.key[2])
            if message.seq is None or message.seq <= self._newest.get(stream, -1):
                return False
            self._newest[stream] = self._last = message.seq
        self.n_lost += isinstance(message, Gap)
        return True


class Every:
    """Requests every message of the log in its order; after a lost link, those that have not come."""

    def __init__(self, view: View, credit: int, first: int = 0) -> None:
        self._view, self._credit = view, credit
        self._session: str | None = None
        self._next, self._started = first, -1
        self.n_lost, self.ask_after = 0, max(1, credit // 2)
        self.costs: tuple[type, ...] = (Numbered, Gap)

    def request(self, session: str | None) -> WatcherRequest | None:
        if session is None:
            return None
        self._enter(session)
        return Replay(session=session, first=self._next, credit=self._credit, view=self._view)

    def is_news(self, message: Message) -> bool:
        self._enter(message.session)
        if isinstance(message, Gap):
            return self._skip_over(message)
        if not isinstance(message, Numbered):
            return True
        if message.seq != self._next:  # a repetition, or out of order after a new link: it will be requested
            return isinstance(message, Start) and self._is_missed(message.seq)
        if isinstance(message, Start):
            self._started = self._next
        self._next += 1
        return True

    def _is_missed(self, seq: int | None) -> bool:
        """Note the start of a run; return whether it comes late: its number was among those that are forgotten."""
        if seq is None or not self._started < seq < self._next:
            return False
        self._started = seq
        return True

    def _enter(self, session: str) -> None:
        if session != self._session:
            self._session, self._next = session, self._next if self._session is None else 0
            self._started = -1

    def _skip_over(self, gap: Gap) -> bool:
        if gap.first is None or gap.last is None:
            return True
        if not gap.first <= self._next <= gap.last:
            return False
        self.n_lost += gap.last - self._next + 1
        self._next = gap.last + 1
        return True


class PassedOver:
    """Counts the volumes that a watcher of the newest was too slow for, by position and channel."""

    def __init__(self) -> None:
        self._nth: dict[Series, int] = {}

    def before(self, message: VolumeMessage) -> int:
        """Return how many were passed over just before this one."""
        if message.nth is None:  # restored late: not the newest
            return 0
        stream = (message.key[1], message.key[2])
        last = self._nth.get(stream, message.nth)
        self._nth[stream] = max(message.nth, last)
        return max(0, message.nth - last - 1)
