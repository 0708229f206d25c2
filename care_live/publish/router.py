"""ROUTER: answers requests of watchers, each at its own pace: newest after N, replay from N, one volume by key.

Its thread only keeps account: two others encode volumes, and read them from the store, each watcher in its turn.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from functools import partial

from msgspec import UNSET

from care_live.errors import ProtocolError
from care_live.images import Restored, RunEnded, RunStarted, Volume, VolumeKey
from care_live.publish.backlog_reader import BacklogReader, Due, Outcome, Purpose, ReadStored, Unavailable, encode
from care_live.publish.encoder import Encoder, Parts
from care_live.publish.log import Entry, Log
from care_live.publish.message_sender import MessageSender
from care_live.publish.message_writer import MessageWriter
from care_live.publish.watchers import MAX_FETCHES, NEW_AT_ONCE, NEW_PER_S, SILENT_S, Watcher, Watchers
from care_live.publish.worker_thread import WorkerThread
from care_live.wire import cl1
from care_live.wire.fields import RequestId
from care_live.wire.guest import Role
from care_live.wire.messages import Fetch, Hello, Newest, Replay, View, WatcherRequest
from care_live.wire.sockets import Received, Socket
from care_live.wire.token_bucket import TokenBucket

logger = logging.getLogger(__name__)

NEEDED: dict[type, Role] = {Hello: "viewer", Newest: "viewer", Fetch: "viewer", Replay: "recorder"}
"""Which role a request needs."""


class Router:
    """The ROUTER socket and its watchers; used by one thread, and owner of two.

    Parameters
    ----------
    socket : bound ROUTER
    writer, encoder : make the messages
    log : of the session
    read : gives a volume from the store; None: the daemon stores nothing
    announce : called in another thread when `serve` has something to do
    """

    def __init__(
        self,
        socket: Socket,
        writer: MessageWriter,
        encoder: Encoder,
        log: Log,
        *,
        read: ReadStored | None,
        announce: Callable[[], None],
    ) -> None:
        self._socket, self._log, self._sender = socket, log, MessageSender(socket, writer)
        self._session = writer.session
        self._backlog = BacklogReader(read, encoder, announce)
        self._views: WorkerThread[Due, Outcome] = WorkerThread("publish-views", partial(encode, encoder), announce)
        self._bounds: list[Entry] = []
        """Start of the run and, once it is over, its end: for watchers that come later."""
        self.watchers = Watchers()
        self._new, self._now_s, self._waits_for_turn = TokenBucket(NEW_PER_S, NEW_AT_ONCE), 0.0, False

    def close(self) -> None:
        self._backlog.close()
        self._views.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of both threads; False when one does not end in time."""
        return self._backlog.join(timeout_s) and self._views.join(timeout_s)

    def receive(self, now_s: float, beat: Callable[[], Parts], at_most: int) -> int:
        """Take requests that have come, and return how many; `beat` makes a heartbeat, the answer to hello."""
        for taken in range(at_most):
            received = self._socket.receive()
            if received is None:
                return taken
            connection = received.connection
            watcher = self.watchers.watcher_of(received.peer, now_s, key=received.key, connection=connection)
            if watcher is not None:
                self._take_message(watcher, received, beat)
            else:
                self._sender.turn_away(received.peer, now_s)
        return at_most

    def _take_message(self, watcher: Watcher, received: Received, beat: Callable[[], Parts]) -> None:
        try:
            request = cl1.decode_request(received.parts)
        except ProtocolError as error:
            self._sender.refuse(watcher, "protocol", str(error))
            return
        if not received.guest.may(needed := NEEDED[type(request)]):
            self._sender.refuse(watcher, "role", f"{received.guest.name} is {received.guest.role}, needs {needed}")
            return
        self._take(watcher, request, beat)

    def _take(self, watcher: Watcher, request: WatcherRequest, beat: Callable[[], Parts]) -> None:
        match request:
            case Hello():
                self._welcome(watcher, beat)
            case Newest():
                watcher.asks_newest(request, self._session)
            case Replay() if request.session != self._session:
                self._sender.gap(
                    watcher, "other-session", f"session {request.session} is over; this is {self._session}"
                )
            case Replay() if request.first > self._log.end:
                self._sender.gap(
                    watcher, "future", f"number {request.first} has not been given: {self._log.end} is next"
                )
            case Replay():
                watcher.asks_replay(request)
            case Fetch() if not watcher.asks_fetch(request):
                reason = "forgotten" if request.id is UNSET else "busy"
                detail = f"{MAX_FETCHES} fetches wait already: repeat it when some of them are answered"
                self._sender.gap(watcher, reason, detail, key=request.key, id=request.id)

    def _welcome(self, watcher: Watcher, beat: Callable[[], Parts]) -> None:
        now_s = watcher.received_s
        if not (watcher.takes_heartbeat() and watcher.has_capacity(now_s) and watcher.hellos.take(now_s)):
            return
        self._socket.send(beat(), to=watcher.peer)
        for entry in self._bounds:
            self._sender.note(watcher, entry)

    def note(self, entry: Entry) -> None:
        """Send a note to watchers of the newest; those that replay get it in its place."""
        if isinstance(entry.record, RunStarted):
            self._bounds = [entry]
        elif isinstance(entry.record, RunEnded):
            self._bounds.append(entry)
        for watcher in self.watchers:
            if watcher.replay is None:
                self._sender.note(watcher, entry)

    def beat(self, parts: Parts, now_s: float) -> None:
        """Send heartbeats; a watcher that takes none is dropped until its next request."""
        for watcher in self.watchers:
            if now_s - watcher.received_s > SILENT_S:
                self._leave(watcher)
            elif not self._socket.is_allowed(watcher.key):
                self._cut(watcher)
            elif watcher.takes_heartbeat() and not self._socket.send(parts, to=watcher.peer):
                self._leave(watcher)

    def serve(self, now_s: float) -> None:
        """Send what is ready, and have made what is due next."""
        while self.watchers.displaced:
            self._cut(self.watchers.displaced.pop())
        self._now_s, self._waits_for_turn = now_s, False
        for due, outcome in [*self._backlog.take(), *self._views.take()]:
            watcher = self.watchers.of(due.peer)
            if watcher is not None and watcher.busy.get(due.purpose) is due:
                with self._contained(watcher):
                    self._finish(watcher, due, outcome)
        for watcher in self.watchers:  # those that came first come first
            if watcher.has_capacity(now_s):
                with self._contained(watcher):
                    self._begin(watcher)

    @contextlib.contextmanager
    def _contained(self, watcher: Watcher) -> Iterator[None]:
        """Disconnect a watcher that can't be served, and go on with the next."""
        try:
            yield
        except Exception:  # one watcher is lost, and connects again; all others go on
            logger.exception("watcher cut off")
            self._cut(watcher)

    @property
    def waits_for_network(self) -> bool:
        """Whether a watcher is due something as soon as the network takes more, or it is its turn: not announced."""
        return self._waits_for_turn or any(watcher.waits_for_network for watcher in self.watchers)

    def has_sent_all(self, now_s: float) -> bool:
        """Return whether every connected recorder has received all that it requested."""
        return all(watcher.has_all(self._log.end, now_s) for watcher in self.watchers)

    def _begin(self, watcher: Watcher) -> None:
        """Order the next volume for each request of a watcher."""
        if "newest" not in watcher.busy:
            self._begin_newest(watcher)
        if "replay" not in watcher.busy:
            self._begin_replay(watcher)
        if "fetch" not in watcher.busy and watcher.fetches:
            fetch = watcher.fetches[0]
            key = VolumeKey(*fetch.key)
            entry = self._log.of(key) or Entry(-1, None, key)
            if self._order(watcher, "fetch", entry, view=fetch.view, request_id=fetch.id):
                watcher.fetches.popleft()

    def _begin_newest(self, watcher: Watcher) -> None:
        for entry, view in self._due(watcher):
            if entry.restored or "raw" in view.products:
                self._order(watcher, "newest", entry, view=view)
                return
            assert entry.key is not None
            watcher.seen[entry.key.p, entry.key.c] = entry.seq  # raw only: nothing of it is wanted

    def _due(self, watcher: Watcher) -> Iterator[tuple[Entry, View]]:
        """Give newest volumes that are due, for as long as they are passed over."""
        end, newest = self._log.end, self._log.newest(watcher.idle_at)
        while (due := watcher.due(newest)) is not None:
            entry = self._log.at(due[0])
            if entry is not None and entry.key is not None:
                yield entry, due[1]
            newest = {stream: seq for stream, seq in newest.items() if seq != due[0]}
        if watcher.newest is not None and len(watcher.on_their_way) < watcher.newest.credit:
            watcher.idle_at = end - 1

    def _begin_replay(self, watcher: Watcher) -> None:
        while watcher.replay is not None and watcher.may_replay and watcher.replay_next < self._log.end:
            seq = watcher.replay_next
            entry = self._log.at(seq)
            if entry is not None and entry.key is not None:
                self._order(watcher, "replay", entry, view=watcher.replay.view)
                return
            watcher.was_replayed(seq + 1, self._now_s)
            if not (self._skip_forgotten(watcher, seq) if entry is None else self._sender.note(watcher, entry)):
                self._leave(watcher)
                return

    def _skip_forgotten(self, watcher: Watcher, seq: int) -> bool:
        """Go on with the oldest number that is known; the run's start comes again where it is no longer among them."""
        first = self._log.first
        watcher.was_replayed(first, self._now_s)
        sent = self._sender.gap(watcher, "forgotten", "too long ago", first=seq, last=first - 1)
        starts = [entry for entry in self._bounds[:1] if seq <= entry.seq < first]
        return sent and all(self._sender.note(watcher, entry) for entry in starts)

    def _order(
        self, watcher: Watcher, purpose: Purpose, entry: Entry, *, view: View, request_id: RequestId = UNSET
    ) -> bool:
        """Have a volume made; False: too many connections are new, this one waits for its turn."""
        assert entry.key is not None
        if watcher.is_new(self._now_s) and not self._new.take(self._now_s):
            self._waits_for_turn = True
            return False
        due = watcher.busy[purpose] = Due(watcher.peer, watcher.client, purpose, entry, entry.key, view, request_id)
        if isinstance(entry.record, Restored | Volume):
            self._views.put(due.client, due)
        else:
            self._backlog.ask(due)
        return True

    def _finish(self, watcher: Watcher, due: Due, outcome: Outcome) -> None:
        """Send a volume that was made, if its watcher is still allowed."""
        del watcher.busy[due.purpose]
        if not self._socket.is_allowed(watcher.key):
            self._cut(watcher)
        elif due.purpose == "replay" and due.entry.seq != watcher.replay_next:
            return  # a later request has moved it further ahead
        elif not self._send(watcher, due, outcome):
            self._leave(watcher)
        else:
            self._note_sent(watcher, due, outcome)

    def _note_sent(self, watcher: Watcher, due: Due, outcome: Outcome) -> None:
        stream = (due.key.p, due.key.c)
        if due.purpose == "replay":
            watcher.was_replayed(due.entry.seq + 1, self._now_s)
        elif due.purpose == "fetch":
            watcher.fetched_s = self._now_s
        elif isinstance(outcome, Unavailable):
            watcher.seen[stream] = due.entry.seq
        else:
            watcher.was_sent(stream, due.entry.seq)

    def _send(self, watcher: Watcher, due: Due, outcome: Outcome) -> bool:
        if isinstance(outcome, Unavailable):
            number = {"first": due.entry.seq, "last": due.entry.seq} if due.entry.seq >= 0 else {}
            reason = "future" if due.purpose == "fetch" and self._is_to_come(due, outcome) else outcome.reason
            return self._sender.gap(watcher, reason, outcome.detail, key=due.key, id=due.id, **number)
        return self._sender.bulk(watcher, outcome.parts(id=due.id))

    def _is_to_come(self, due: Due, outcome: Unavailable) -> bool:
        """Return whether a missing volume is planned, and later than all of its position and channel."""
        if outcome.reason != "not-stored" or due.entry.seq >= 0 or len(self._bounds) != 1:
            return False
        started = self._bounds[0].record
        planned = isinstance(started, RunStarted) and started.plan.planes_of(due.key) is not None
        return planned and due.key.t > self._log.latest((due.key.p, due.key.c))

    def _leave(self, watcher: Watcher) -> None:
        """Drop a watcher that sends or takes nothing more; one that holds volumes is disconnected."""
        self.watchers.forget(watcher)
        if not watcher.key:  # other connections of a key share its turn
            self._backlog.discard(watcher.client)
            self._views.discard(watcher.client)
        if not all(sending.is_done for sending in watcher.held):
            self._socket.cut(watcher.connection)

    def _cut(self, watcher: Watcher) -> None:
        """Break the connection of a watcher that is no longer allowed, or gave way, with all that is in flight."""
        self._leave(watcher)
        self._socket.cut(watcher.connection)
