"""Sends messages to single watchers, and counts what each of them holds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from care_live.errors import ProtocolError
from care_live.publish.log import Entry
from care_live.publish.watchers import MAX_WATCHERS, Watcher
from care_live.wire.arrays import as_bytes
from care_live.wire.sockets import Socket
from care_live.wire.token_bucket import TokenBucket

if TYPE_CHECKING:  # the router gives it what to send
    from care_live.publish.encoder import Parts
    from care_live.publish.message_writer import MessageWriter

logger = logging.getLogger(__name__)

BULK_NOTE_BYTES = 64 * 1024
"""A note above this counts as a volume among what is held for a watcher."""


class MessageSender:
    """The sending half of the ROUTER socket; each method returns False when the watcher can take nothing."""

    def __init__(self, socket: Socket, writer: MessageWriter) -> None:
        self._socket, self._writer = socket, writer
        self._strangers = TokenBucket(10, 20)
        """Refusals to clients without a place."""

    def note(self, watcher: Watcher, entry: Entry) -> bool:
        """Send an entry that is no volume, or a gap in its place."""
        if not self._socket.is_allowed(watcher.key):
            return False
        try:
            parts = self._writer.note(entry)
        except ProtocolError as error:
            return self.gap(watcher, "unreadable", str(error), first=entry.seq, last=entry.seq)
        if as_bytes(parts[0]).nbytes > BULK_NOTE_BYTES:
            return self.bulk(watcher, parts)
        return self._socket.send(parts, to=watcher.peer)

    def bulk(self, watcher: Watcher, parts: Parts) -> bool:
        """Send a message that is held until the network has taken it."""
        sending = self._socket.send_bulk(parts, to=watcher.peer)
        if sending is not None:
            watcher.held.append(sending)
        return sending is not None

    def gap(self, watcher: Watcher, reason: str, detail: str, **which: object) -> bool:
        return self._socket.send(self._writer.gap(reason, detail, **which), to=watcher.peer)

    def refuse(self, watcher: Watcher, reason: str, detail: str) -> None:
        """Refuse a request, unless the watcher was refused too often lately."""
        if watcher.refusals.take(watcher.received_s):
            self._refuse(watcher.peer, reason, detail)

    def turn_away(self, peer: bytes, now_s: float) -> None:
        """Refuse a connection for which there is no place."""
        if self._strangers.take(now_s):
            self._refuse(peer, "too-many-watchers", f"{MAX_WATCHERS} are served at most, fewer of one key")

    def _refuse(self, peer: bytes, reason: str, detail: str) -> None:
        logger.debug("request refused reason=%s detail=%s", reason, detail)
        self._socket.send(self._writer.refused(reason, detail), to=peer)
