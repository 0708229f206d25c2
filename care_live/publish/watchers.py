"""Who watches, and what each is due next. Pure bookkeeping: no sockets, the clock is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from care_live.publish.log import Stream
from care_live.wire.messages import Fetch, Newest, Replay, View

MAX_WATCHERS = 128
"""More than this are refused, and told so."""
SILENT_S = 15.0
"""A watcher that has not asked for so long has gone; clients ask again every few seconds."""
MAX_FETCHES = 16
"""Of one watcher; older ones are forgotten."""


@dataclass(slots=True)
class Watcher:
    """One connection."""

    peer: bytes
    heard_s: float
    newest: Newest | None = None
    seen: dict[Stream, int] = field(default_factory=dict)
    """Sequence number last sent of each stream, on this connection."""
    on_their_way: deque[int] = field(default_factory=deque)
    """Newest volumes that were sent and not acknowledged."""
    replay: Replay | None = None
    replay_next: int = 0
    fetches: deque[Fetch] = field(default_factory=lambda: deque(maxlen=MAX_FETCHES))
    _was_told: bool = False

    def asks_newest(self, request: Newest, session: str) -> None:
        """Take a request for the newest: it replaces the one before, and acknowledges what came."""
        if self.newest is None and request.session == session:
            self.seen = {(-1, -1): request.after}
        if request.last is not None:
            self._has_come(request.last)
        self.newest = request

    def _has_come(self, last: int) -> None:
        """Forget what has come; a volume that was fetched by key may have come in between."""
        sent = list(self.on_their_way)
        left = sent[sent.index(last) + 1 :] if last in sent else [seq for seq in sent if seq > last]
        if len(left) < len(sent):
            self.on_their_way, self._was_told = deque(left), False

    def asks_replay(self, request: Replay) -> None:
        """Take a request to replay; what was sent on this connection arrives, so it is never sent twice."""
        if self.replay is None or request.first > self.replay.first:
            self._was_told = False
        self.replay_next = request.first if self.replay is None else max(self.replay_next, request.first)
        self.replay = request

    @property
    def may_replay(self) -> bool:
        """Tell whether there is credit for one more message of the log."""
        return self.replay is not None and self.replay_next - self.replay.first < self.replay.credit

    def may_be_told(self) -> bool:
        """Tell whether a heartbeat may be sent: one only behind volumes that a slow link is still carrying."""
        waits = bool(self.on_their_way) or (self.replay is not None and self.replay_next > self.replay.first)
        told, self._was_told = self._was_told, waits
        return not (waits and told)

    def due(self, newest: Mapping[Stream, int]) -> tuple[int, View] | None:
        """Return the number of the volume to send next, the longest waiting stream first, or None."""
        if self.newest is None or len(self.on_their_way) >= self.newest.credit:
            return None
        before = self.seen.get((-1, -1), -1)
        waiting = [
            (self.seen.get(stream, before), seq, stream)
            for stream, seq in newest.items()
            if seq > self.seen.get(stream, before) and self._wants(stream)
        ]
        return (min(waiting)[1], self.newest.view) if waiting else None

    def was_sent(self, stream: Stream, seq: int) -> None:
        """Note that a newest volume went out."""
        self.seen[stream] = seq
        self.on_their_way.append(seq)

    def _wants(self, stream: Stream) -> bool:
        assert self.newest is not None
        return self.newest.p in (None, stream[0]) and self.newest.c in (None, stream[1])


class Watchers:
    """All connections that are alive."""

    def __init__(self) -> None:
        self._by_peer: dict[bytes, Watcher] = {}

    def heard(self, peer: bytes, now_s: float) -> Watcher | None:
        """Return the watcher behind a connection, a new one if need be; None: there are too many."""
        watcher = self._by_peer.get(peer)
        if watcher is None:
            if len(self._by_peer) >= MAX_WATCHERS:
                return None
            watcher = self._by_peer[peer] = Watcher(peer, now_s)
        watcher.heard_s = now_s
        return watcher

    def forget(self, watcher: Watcher) -> None:
        del self._by_peer[watcher.peer]

    def forget_silent(self, now_s: float) -> None:
        for peer in [peer for peer, watcher in self._by_peer.items() if now_s - watcher.heard_s > SILENT_S]:
            del self._by_peer[peer]

    def __iter__(self) -> Iterator[Watcher]:
        return iter(list(self._by_peer.values()))

    def __len__(self) -> int:
        return len(self._by_peer)
