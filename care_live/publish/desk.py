"""ROUTER: answers watchers that ask, each at its own pace: newest after N, replay from N, one volume by key."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from care_live.errors import ProtocolError
from care_live.images import Restored, RunEnded, RunStarted, Volume, VolumeKey
from care_live.publish.archive import Answer, Archive, Unavailable
from care_live.publish.log import Entry, Log
from care_live.publish.watchers import MAX_WATCHERS, Watcher, Watchers
from care_live.publish.writer import Parts, Writer
from care_live.wire import cl1
from care_live.wire.keys import Role
from care_live.wire.messages import Fetch, Hello, Newest, Replay, Request, View
from care_live.wire.sockets import Received, Socket

logger = logging.getLogger(__name__)

NEEDED: dict[type, Role] = {Hello: "viewer", Newest: "viewer", Fetch: "viewer", Replay: "recorder"}
"""Which role a request needs."""


class Desk:
    """The ROUTER socket and all who ask there; used by one thread."""

    def __init__(self, socket: Socket, writer: Writer, log: Log, archive: Archive | None) -> None:
        self._socket, self._writer, self._log, self._archive = socket, writer, log, archive
        self._session = writer.session
        self._bounds: list[Entry] = []
        """Start of the run and, once it is over, its end: for those who come later."""
        self.watchers = Watchers()
        self.n_refused = 0

    def hear(self, now_s: float, beat: Callable[[], Parts]) -> None:
        """Take all requests that have come; `beat` makes a heartbeat, the answer to hello between runs."""
        while (received := self._socket.receive()) is not None:
            watcher = self.watchers.heard(received.peer, now_s)
            if watcher is None:
                self._refuse(received.peer, "too-many-watchers", f"{MAX_WATCHERS} are served at most")
                continue
            self._hear_one(watcher, received, beat)

    def _hear_one(self, watcher: Watcher, received: Received, beat: Callable[[], Parts]) -> None:
        try:
            request = cl1.decode_request(received.parts)
        except ProtocolError as error:
            self._refuse(watcher.peer, "protocol", str(error))
            return
        if not received.guest.may(needed := NEEDED[type(request)]):
            self._refuse(watcher.peer, "role", f"{received.guest.name} is {received.guest.role}, this needs {needed}")
            return
        self._take(watcher, request, beat)

    def _take(self, watcher: Watcher, request: Request, beat: Callable[[], Parts]) -> None:
        match request:
            case Hello():
                if not watcher.may_be_told():
                    return
                self._socket.send(beat(), to=watcher.peer)
                for entry in self._bounds:
                    self._send_note(watcher, entry)
            case Newest():
                watcher.asks_newest(request, self._session)
            case Replay() if request.session != self._session:
                self._gap(watcher, "other-session", f"session {request.session} is over; this is {self._session}")
            case Replay() if request.first > self._log.end:
                self._gap(watcher, "future", f"number {request.first} has not been given: {self._log.end} is next")
            case Replay():
                watcher.asks_replay(request)
            case Fetch():
                watcher.fetches.append(request)

    def note(self, entry: Entry) -> None:
        """Tell those who watch the newest what is no volume; those who replay get it in its place."""
        if isinstance(entry.record, RunStarted):
            self._bounds = [entry]
        elif isinstance(entry.record, RunEnded):
            self._bounds.append(entry)
        parts = self._writer.note(entry)
        for watcher in self.watchers:
            if watcher.replay is None:
                self._socket.send(parts, to=watcher.peer)

    def beat(self, parts: Parts, now_s: float) -> None:
        """Tell everybody that the daemon lives; whoever cannot be told is forgotten until he asks again."""
        self.watchers.forget_silent(now_s)
        for watcher in self.watchers:
            if watcher.may_be_told() and not self._socket.send(parts, to=watcher.peer):
                self.watchers.forget(watcher)

    def serve(self) -> None:
        """Send what is due and can be sent now."""
        answers = self._archive.take() if self._archive else {}
        newest = self._log.newest()
        for watcher in self.watchers:
            self._serve_newest(watcher, newest)
            self._serve_replay(watcher, answers)
            self._serve_fetches(watcher, answers)

    def has_sent_all(self) -> bool:
        """Tell whether every recorder that is there has had all it asked for."""
        return all(
            not watcher.fetches and (watcher.replay is None or watcher.replay_next >= self._log.end)
            for watcher in self.watchers
        )

    def _serve_newest(self, watcher: Watcher, newest: Mapping[tuple[int, int], int]) -> None:
        while (due := watcher.due(newest)) is not None:
            seq, view = due
            entry = self._log.at(seq)
            if entry is None or entry.key is None or not isinstance(entry.record, Restored | Volume):
                return  # a newer one is on its way
            if isinstance(entry.record, Volume) and "raw" not in view.products:
                watcher.seen[entry.key.p, entry.key.c] = seq  # nothing of it is wanted
                continue
            if not self._send_volume(watcher, entry, entry.record, view):
                return
            watcher.was_sent((entry.key.p, entry.key.c), seq)

    def _serve_replay(self, watcher: Watcher, answers: Mapping[VolumeKey, Answer]) -> None:
        while watcher.replay is not None and watcher.may_replay and watcher.replay_next < self._log.end:
            seq = watcher.replay_next
            entry = self._log.at(seq)
            if entry is None:
                watcher.replay_next = self._log.first
                if not self._gap(watcher, "forgotten", "too long ago", first=seq, last=self._log.first - 1):
                    return
                continue
            if not self._replay(watcher, entry, watcher.replay.view, answers):
                return
            watcher.replay_next = seq + 1

    def _replay(self, watcher: Watcher, entry: Entry, view: View, answers: Mapping[VolumeKey, Answer]) -> bool:
        """Send one entry, from memory or from the store; False: not now."""
        if entry.key is None:
            return self._send_note(watcher, entry)
        answer = self._recall(entry.key, entry, answers)
        if entry.restored and isinstance(answer, Volume):
            answer = Unavailable("not-stored", "of this restored volume the store has only the raw one (yet): fetch it")
        return self._send_answer(watcher, entry, answer, view)

    def _serve_fetches(self, watcher: Watcher, answers: Mapping[VolumeKey, Answer]) -> None:
        while watcher.fetches:
            fetch = watcher.fetches[0]
            key = VolumeKey(*fetch.key)
            entry = self._log.of(key) or Entry(-1, None, key)
            if not self._send_answer(watcher, entry, self._recall(key, entry, answers), fetch.view):
                return
            watcher.fetches.popleft()

    def _send_note(self, watcher: Watcher, entry: Entry) -> bool:
        try:
            parts = self._writer.note(entry)
        except ProtocolError as error:
            return self._gap(watcher, "unreadable", str(error), first=entry.seq, last=entry.seq)
        return self._socket.send(parts, to=watcher.peer)

    def _recall(self, key: VolumeKey, entry: Entry, answers: Mapping[VolumeKey, Answer]) -> Answer | None:
        """Return a volume from memory or from the store; None: it is being read."""
        if isinstance(entry.record, Restored | Volume):
            return entry.record
        if self._archive is None:
            return Unavailable("not-stored", "memory has forgotten it and there is no store to read")
        if key not in answers:
            self._archive.ask(key)
        return answers.get(key)

    def _send_answer(self, watcher: Watcher, entry: Entry, answer: Answer | None, view: View) -> bool:
        if answer is None:
            return False
        if not isinstance(answer, Unavailable):
            return self._send_volume(watcher, entry, answer, view)
        number = {"first": entry.seq, "last": entry.seq} if entry.seq >= 0 else {}
        return self._gap(watcher, answer.reason, answer.detail, key=entry.key, **number)

    def _send_volume(self, watcher: Watcher, entry: Entry, record: Restored | Volume, view: View) -> bool:
        try:
            parts = self._writer.volume(entry, record, view)
        except ProtocolError as error:
            logger.warning("volume unsendable seq=%d error=%s", entry.seq, error)
            return self._gap(watcher, "unreadable", str(error), first=entry.seq, last=entry.seq, key=record.key)
        return self._socket.send(parts, to=watcher.peer)

    def _gap(self, watcher: Watcher, reason: str, detail: str, **which: object) -> bool:
        return self._socket.send(self._writer.gap(reason, detail, **which), to=watcher.peer)

    def _refuse(self, peer: bytes, reason: str, detail: str) -> None:
        self.n_refused += 1
        logger.info("request refused reason=%s detail=%s", reason, detail)
        self._socket.send(self._writer.refused(reason, detail), to=peer)
