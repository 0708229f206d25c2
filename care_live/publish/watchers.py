"""The watchers, what each gets next, and what each may cost. Pure bookkeeping: the clock is an argument."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from care_live.publish.log import Series
from care_live.publish.waiting_line import WaitingLine
from care_live.wire.connections import ConnectionId, Sending
from care_live.wire.messages import Fetch, Newest, Replay, View
from care_live.wire.token_bucket import TokenBucket

if TYPE_CHECKING:  # pure bookkeeping: what is due is read elsewhere
    from care_live.publish.backlog_reader import Due, Purpose

QUIET_S = 4.0
"""The end, and the next run, do not wait for a recorder that has requested nothing for this long.

Nor for one that requests, but has acknowledged nothing for this long after the network took all that it was sent, or
for twice as long as it has ever needed for that: a slow link carries for seconds what its buffers have taken.
"""
FOLLOWS_S = 1.0
"""A recorder that lacks many volumes requests the next ones this soon after an answer; the end waits for them."""
MAX_WATCHERS = 128
"""More than this are refused."""
MAX_OF_ONE = 32
"""Connections of one key."""
MAX_LOCAL = 48
"""Connections without keys: all programs of this machine share them."""
GIVE_WAY_S = 10.0
"""A connection that has taken nothing for this long gives way to a new one when there is no place left."""
SILENT_S = 15.0
"""After this time without a request a watcher counts as disconnected; clients repeat requests every few seconds."""
NEW_S = 5.0
NEW_PER_S, NEW_AT_ONCE = 16, 32
"""Volumes to new connections in their first seconds, all together, before they acknowledge one."""
MAX_FETCHES = 16
"""Of one watcher, waiting; more are answered by a gap."""
MAX_HELD, MAX_HELD_BYTES = 3, 4 * 1024**2
"""Volumes that ZeroMQ may hold for one watcher, or bytes, whichever is more."""


@dataclass(slots=True, eq=False)
class Watcher:
    """One connection."""

    peer: bytes
    received_s: float
    key: str = ""
    """Public key; empty on loopback without keys."""
    connection: ConnectionId | None = None
    newest: Newest | None = None
    seen: dict[Series, int] = field(default_factory=dict)
    """Sequence number last sent of each stream, on this connection."""
    on_their_way: deque[int] = field(default_factory=deque)
    """Newest volumes that were sent and not acknowledged."""
    replay: Replay | None = None
    replay_next: int = 0
    fetches: deque[Fetch] = field(default_factory=deque)
    fetched_s: float = float("-inf")
    """When it was last sent a volume that it had requested by key, or a gap."""
    busy: dict[Purpose, Due] = field(default_factory=dict)
    """Volumes that are being read or encoded for it."""
    held: deque[Sending] = field(default_factory=deque)
    """Messages with arrays that the network has not taken yet."""
    took_s: float = 0.0
    """When it last took something of what it was sent, or came."""
    replayed_s: float = 0.0
    """When it was last sent something of the log."""
    slowest_s: float = 0.0
    """The longest time from either of these to an acknowledgement."""
    came_s: float = 0.0
    has_acknowledged: bool = False
    idle_at: int = -1
    """Up to this number no newest volume is due."""
    hellos: TokenBucket = field(default_factory=lambda: TokenBucket(4, 8))
    refusals: TokenBucket = field(default_factory=lambda: TokenBucket(4, 16))
    _was_announced: bool = False

    @property
    def client(self) -> str | bytes:
        """The share of the work that it uses: its key's, or its own."""
        return self.key or self.peer

    def asks_newest(self, request: Newest, session: str) -> None:
        """Take a request for the newest: it replaces the one before, and acknowledges what came."""
        if self.newest is None and request.session == session:
            self.seen = {(-1, -1): request.after}
        if self.newest is None or (request.p, request.c) != (self.newest.p, self.newest.c):
            self.idle_at = -1
        if request.last is not None:
            self._has_come(request.last)
        self.newest = request

    def _has_come(self, last: int) -> None:
        """Drop what has come; a volume that was fetched by key may have come in between."""
        sent = list(self.on_their_way)
        left = sent[sent.index(last) + 1 :] if last in sent else [seq for seq in sent if seq > last]
        if len(left) < len(sent):
            self.on_their_way, self._was_announced, self.took_s = deque(left), False, self.received_s
            self.has_acknowledged = True

    def asks_replay(self, request: Replay) -> None:
        """Take a request to replay; what was sent on this connection arrives, so it is never sent twice."""
        if self.replay is None or request.first > self.replay.first:
            self.has_acknowledged = self.replay is not None
            if self.has_acknowledged:
                self.slowest_s = max(self.slowest_s, self.received_s - self._since_s)
            self._was_announced, self.took_s = False, self.received_s
        self.replay_next = request.first if self.replay is None else max(self.replay_next, request.first)
        self.replay = request

    def was_replayed(self, up_to: int, now_s: float) -> None:
        """Note that it was sent the log up to a number."""
        self.replay_next, self.replayed_s = up_to, now_s

    @property
    def _since_s(self) -> float:
        """Since when it may acknowledge what it was sent last."""
        return max(self.took_s, self.replayed_s)

    def asks_fetch(self, request: Fetch) -> bool:
        """Take a request for one volume; False: too many wait. The same again, while it waits, is one request."""
        if request in self.fetches:
            return True
        if len(self.fetches) >= MAX_FETCHES:
            return False
        self.fetches.append(request)
        return True

    def has_all(self, end: int, now_s: float) -> bool:
        """Return whether all that was requested came; a watcher that requests nothing more is away, or frozen."""
        if now_s - self.received_s > QUIET_S:
            return True
        if self.fetches or "fetch" in self.busy:
            return False
        if self.replay is None:
            return True
        if now_s - self.fetched_s < FOLLOWS_S:
            return False
        if self.replay_next >= end and self.replay.first >= end:
            return True
        return not self._is_owed(end) and now_s - self._since_s > max(QUIET_S, 2 * self.slowest_s)

    def _is_owed(self, end: int) -> bool:
        """Return whether something of the log that it requested is still to be sent to it, or on the way."""
        return bool(self.held) or "replay" in self.busy or (self.may_replay and self.replay_next < end)

    def is_new(self, now_s: float) -> bool:
        """Return whether neither an acknowledgement nor its time here shows that it takes what it requests."""
        return not self.has_acknowledged and now_s - self.came_s < NEW_S

    @property
    def may_replay(self) -> bool:
        """Return whether there is credit for one more message of the log."""
        return self.replay is not None and self.replay_next - self.replay.first < self.replay.credit

    def takes_heartbeat(self) -> bool:
        """Return whether a heartbeat may be sent: one only behind volumes that a slow link is still carrying."""
        waits = bool(self.on_their_way) or (self.replay is not None and self.replay_next > self.replay.first)
        announced, self._was_announced = self._was_announced, waits
        return not (waits and announced)

    def has_capacity(self, now_s: float) -> bool:
        """Return whether the network has taken enough of what was sent for one more volume."""
        while self.held and self.held[0].is_done:
            self.held.popleft()
            self.took_s = now_s
        return not self._is_full

    @property
    def _is_full(self) -> bool:
        return len(self.held) >= MAX_HELD and sum(sending.nbytes for sending in self.held) >= MAX_HELD_BYTES

    @property
    def waits_for_network(self) -> bool:
        """Whether something is due as soon as the network takes more."""
        return self._is_full and bool(self.fetches or self.newest or self.may_replay)

    def due(self, newest: Mapping[Series, int]) -> tuple[int, View] | None:
        """Return the number of the volume to send next, the longest waiting stream first, or None."""
        if self.newest is None or len(self.on_their_way) >= self.newest.credit:
            return None
        before = self.seen.get((-1, -1), -1)
        waiting = [
            (self.seen.get(stream, before), -seq)
            for stream, seq in newest.items()
            if seq > self.seen.get(stream, before) and self._wants(stream)
        ]
        return (-min(waiting)[1], self.newest.view) if waiting else None

    def was_sent(self, stream: Series, seq: int) -> None:
        """Note that a newest volume went out."""
        self.seen[stream] = seq
        self.on_their_way.append(seq)

    def _wants(self, stream: Series) -> bool:
        assert self.newest is not None
        return self.newest.p in (None, stream[0]) and self.newest.c in (None, stream[1])


class Watchers:
    """All connections that are alive."""

    def __init__(self) -> None:
        self._by_peer: dict[bytes, Watcher] = {}
        self.displaced: list[Watcher] = []
        """Those that gave way to others; the router empties this list and disconnects them."""
        self._line = WaitingLine()

    def watcher_of(
        self, peer: bytes, now_s: float, *, key: str = "", connection: ConnectionId | None = None
    ) -> Watcher | None:
        """Return the watcher behind a connection, a new one if need be; None: there are too many."""
        watcher = self._by_peer.get(peer)
        if watcher is None:
            if not self._admit(peer, key, now_s):
                self._line.wait(peer, key, now_s)
                return None
            self._line.leave(peer)
            watcher = self._by_peer[peer] = Watcher(peer, now_s, key, connection, took_s=now_s, came_s=now_s)
        watcher.received_s = now_s
        return watcher

    def of(self, peer: bytes) -> Watcher | None:
        return self._by_peer.get(peer)

    def forget(self, watcher: Watcher) -> None:
        self._by_peer.pop(watcher.peer, None)

    def _admit(self, peer: bytes, key: str, now_s: float) -> bool:
        """Find a place for a new connection; return whether there is one that those before it in the line leave."""
        n_free, giving_way = self._places(key, now_s)
        n_places = max(n_free, len(giving_way))
        if not n_places or self._line.n_ahead(peer, key, now_s) >= n_places:
            return False
        if n_free <= 0:
            self._displace(min(giving_way, key=lambda watcher: watcher.took_s))
        return True

    def _places(self, key: str, now_s: float) -> tuple[int, list[Watcher]]:
        """Return how many places are free for a key, and, where there is none, which connections give way.

        Where a key, or this machine, has all the places it may have, those of its connections give way that have taken
        nothing for a long time. Where all places are taken, those of the key give way that has most of them.
        """
        of_one = [watcher for watcher in self if watcher.key == key]
        n_left = (MAX_OF_ONE if key else MAX_LOCAL) - len(of_one)
        n_free = min(n_left, MAX_WATCHERS - len(self))
        if n_free > 0:
            return n_free, []
        if n_left <= 0:
            among, before_s = of_one, now_s - GIVE_WAY_S
        else:
            counts = Counter(watcher.key for watcher in self)
            greediest = max(counts, key=counts.__getitem__)
            among = [watcher for watcher in self if watcher.key == greediest]
            before_s = now_s if len(of_one) + 1 < len(among) else now_s - GIVE_WAY_S
        return 0, [watcher for watcher in among if watcher.took_s <= before_s]

    def _displace(self, watcher: Watcher) -> None:
        self.forget(watcher)
        self.displaced.append(watcher)

    def __iter__(self) -> Iterator[Watcher]:
        return iter(list(self._by_peer.values()))

    def __len__(self) -> int:
        return len(self._by_peer)
