"""The process of a worker on another machine: connects to the daemon, and restores what that sends.

    python -m care_live.worker.remote_worker

It reads its invitation, a line of JSON, from its standard input. It ends when the daemon dismisses it, when the daemon
is silent for long, or when its standard input ends, which is where the program that started it has ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import shutil
import signal
import sys
import threading
import time
from collections import deque
from functools import partial
from pathlib import Path

import msgspec

from care_live.errors import CareLiveError
from care_live.wire.keys import ClientKeys
from care_live.wire.sockets import Socket, Sockets
from care_live.worker import remote_protocol as link
from care_live.worker.remote_session import Outgoing, RemoteSession
from care_live.worker.worker_folder import worker_folder

logger = logging.getLogger(__name__)

_BUSY_S = 0.005
_IDLE_S = 0.1
_LONGEST_TURN_S = 1.0
"""More than this between two turns: this machine was held up, and the daemon's silence does not count."""
_MESSAGES_A_TURN = 16
REFUSED = 2
"""Exit code of a worker of another version."""


class RemoteWorker:
    """One worker, from its first word to its end.

    Parameters
    ----------
    sockets : of this thread
    dealer : connected to the daemon
    place : an empty folder for files that the daemon sends
    """

    def __init__(self, sockets: Sockets, dealer: Socket, place: Path) -> None:
        self._sockets, self._dealer, self._place = sockets, dealer, place
        self._sessions: dict[int, RemoteSession] = {}
        self._left = -1
        self._unsent: deque[Outgoing] = deque()
        self._silent_s = self._hello_s = 0.0
        self._dismissed = False
        self.refused = ""
        """Why the daemon has refused it, if it has."""

    def serve(self) -> None:
        """Restore until the daemon has no more work, or is gone."""
        turned_s = time.monotonic()
        try:
            while not self._dismissed and self._silent_s < link.FORSAKEN_S:
                busy = self._unsent or any(session.is_busy for session in self._sessions.values())
                self._sockets.poll(_BUSY_S if busy else _IDLE_S)
                now_s = time.monotonic()
                self._silent_s += min(now_s - turned_s, _LONGEST_TURN_S)
                turned_s = now_s
                self._receive()
                self._collect(now_s)
                self._flush()
        finally:
            for session in list(self._sessions):
                self._leave(session)

    def _receive(self) -> None:
        for _ in range(_MESSAGES_A_TURN):
            if (received := self._dealer.receive()) is None:
                return
            self._silent_s = 0.0
            self._follow(link.to_worker.decode(received.parts[0]), received.parts[1:])

    def _follow(self, message: link.ToWorker, parts: list[memoryview]) -> None:
        match message:
            case link.SessionStart():
                self._join(message, parts)
            case link.Order() | link.RawPlanes():
                if (ordered := self._sessions.get(message.session)) is not None:
                    ordered.take(message, parts)
            case link.Leave(session=session):
                self._leave(session)
            case link.Dismiss(reason=reason):
                self._dismissed, self.refused = True, reason

    def _join(self, join: link.SessionStart, parts: list[memoryview]) -> None:
        try:
            self._sessions[join.session] = RemoteSession(join, parts, self._place)
        except (OSError, ValueError, CareLiveError) as error:  # a full disk, settings of another version
            self._left = max(self._left, join.session)
            self._unsent.append((link.Gone(join.session, f"cannot start: {error}"[:4000]), ()))

    def _collect(self, now_s: float) -> None:
        """Queue what is to be said."""
        if not self._sessions:
            if now_s - self._hello_s > link.BEAT_S:
                self._hello_s = now_s
                self._unsent.append((link.WorkerFree(platform.node()[:256], self._left), ()))
        elif not self._unsent:  # results wait where they lie while the link is slow
            for session in list(self._sessions.values()):
                news = list(session.news())
                self._unsent += news
                if news and isinstance(news[-1][0], link.Gone):
                    self._flush()
                    self._leave(session.number)

    def _flush(self) -> None:
        while self._unsent:
            message, parts = self._unsent[0]
            if not self._dealer.send([link.from_worker.encode(message), *parts]):
                return
            self._unsent.popleft()

    def _leave(self, number: int) -> None:
        """End a session, whose last results are not sent any more."""
        self._left = max(self._left, number)
        if (session := self._sessions.pop(number, None)) is not None:
            self._unsent = deque(one for one in self._unsent if not _is_result_of(number, one[0]))
            session.close()


def _is_result_of(session: int, message: link.FromWorker) -> bool:
    return not isinstance(message, link.WorkerFree | link.Gone) and message.session == session


def main() -> int:
    """Serve the daemon that the invitation names."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started this one
    invitation = msgspec.json.decode(sys.stdin.buffer.readline(), type=link.Invitation)
    client = ClientKeys(invitation.own, invitation.server_public)
    with worker_folder() as place, Sockets(client=client) as sockets:
        watch = partial(_end_with_the_one_that_started_it, place)
        threading.Thread(target=watch, name="standard input", daemon=True).start()
        dealer = sockets.connect("dealer", invitation.address, hwm=link.N_QUEUED, max_message_bytes=link.MESSAGE_BYTES)
        worker = RemoteWorker(sockets, dealer, place)
        worker.serve()
    if worker.refused:
        logger.error("refused by the daemon at %s: %s", invitation.address, worker.refused)
    return REFUSED if worker.refused else 0


def _end_with_the_one_that_started_it(place: Path) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):  # sys.stdin has a lock: at its end the interpreter would wait for it, and abort
            pass
    shutil.rmtree(place, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
