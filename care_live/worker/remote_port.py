"""Where workers on other machines reach the daemon: they come, and wait here until an inference process is wanted.

They connect to the daemon, since a firewall rather lets a machine of a cluster out than another one in. The only key
that may connect is made at the start, and reaches a worker by the engine that starts it.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from care_live.config import RestoreConfig
from care_live.errors import ProtocolError, StageError
from care_live.wire.guest import Guest, OneGuest
from care_live.wire.keys import KeyPair, ServerKeys
from care_live.wire.relay import Budget
from care_live.wire.sockets import Received, SendOutcome, Sockets, new_pair
from care_live.worker import remote_protocol as link
from care_live.worker.carried_files import CarriedConfigs
from care_live.worker.remote_inference import RemoteInference
from care_live.worker.remote_peer import RemotePeer

logger = logging.getLogger(__name__)

_TURN_S = 0.1
_FULL_S = 0.002
"""Until a message is tried again for which ZeroMQ's queue was full."""
_LONGEST_TURN_S = 0.5
"""More than this between two turns: this process was held up itself, and silence does not count."""
_MESSAGES_A_TURN = 64
_JOIN_S = 10.0
PAUSE_S = 0.5
"""After the link's first failure; twice as long after each further one."""
_MOST_FAILURES = 6
"""In a row: then the link is given up."""
_STEADY_S = 60.0
"""After so long without a failure, the next one is the first of a row."""
_BUDGET = Budget(connections=128, per_address=128, bytes_per_s=None, stuck_s=2 * link.FORSAKEN_S)


class RemotePort:
    """Owns the socket and its thread; gives each process that is wanted to a worker that has nothing to do.

    Parameters
    ----------
    bind : address, with port 0 for a free one

    Raises
    ------
    ConfigError
        The address is taken, or is not of this machine.
    """

    def __init__(self, bind: str) -> None:
        self._own, self._theirs = new_pair(), new_pair()
        self.address = bind
        self._begin()
        self._guard = threading.Lock()
        self._peers: dict[bytes, RemotePeer] = {}
        self._wanted: deque[RemoteInference] = deque()
        self._carried = CarriedConfigs()
        self._numbers = itertools.count()
        self._closing = threading.Event()
        self._beat_s = 0.0
        self.failure = ""
        """How the link failed last; it is then begun anew, at the same address."""
        self.cut_off: tuple[str, ...] = ()
        """The machines of the workers that were connected then."""
        self.refused = ""
        """Why the last worker that came was refused, if it was."""
        self.n_failures = 0
        self.error: Exception | None = None
        """Why no worker is served any more: the link failed again and again."""
        self._thread = threading.Thread(target=self._run, name="care-live remote workers")
        self._thread.start()

    def invitation(self, address: str) -> link.Invitation:
        """Return what a worker needs to connect.

        Parameters
        ----------
        address : of this port, as that machine sees it
        """
        return link.Invitation(address, KeyPair(self._theirs.public, self._theirs.secret), self._own.public)

    def open(self, config: RestoreConfig, budgets_px: Mapping[int, int], *, owner: object = None) -> RemoteInference:
        """Ask for a process on another machine; see `OpenInference`.

        The files of these settings are read once, so that a worker that is replaced gets the same ones.

        Parameters
        ----------
        owner : the worker of the daemon that it is for: all processes of one worker run on the same machine

        Raises
        ------
        ModelError
            A file cannot be read.
        """
        inference = RemoteInference(config, self._carried.of(config), budgets_px, self._give_back, owner=owner)
        with self._guard:
            self._wanted.append(inference)
        self._sockets.wake()
        return inference

    @property
    def hosts(self) -> tuple[str, ...]:
        """The machines of the workers that are connected now."""
        with self._guard:
            return tuple(peer.host for peer in self._peers.values())

    def close(self) -> None:
        """Dismiss every worker, and end the thread.

        Raises
        ------
        StageError
            The thread did not end in time.
        """
        self._closing.set()
        self._sockets.wake()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            raise StageError(f"the link to remote workers did not end within {_JOIN_S:g} s")

    def _begin(self) -> None:
        """Open the socket: at the start, and anew after a failure."""
        allowed = OneGuest(self._theirs.public, Guest("worker", "operator"))
        self._sockets = Sockets(server=ServerKeys(self._own, allowed))
        try:
            self._socket = self._sockets.bind(
                "router", self.address, hwm=link.N_QUEUED, max_message_bytes=link.MESSAGE_BYTES, budget=_BUDGET
            )
        except BaseException:
            self._sockets.close()
            raise
        self.address = self._socket.address

    def _give_back(self, inference: RemoteInference) -> None:
        with self._guard:
            if inference in self._wanted:
                self._wanted.remove(inference)
            for peer in self._peers.values():
                for session in [number for number, one in peer.runs.items() if one is inference]:
                    del peer.runs[session]

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Serve until the end, also after failures: workers connect again by themselves."""
        n_in_a_row = 0
        while self.error is None and not self._closing.wait(PAUSE_S * 2 ** (n_in_a_row - 1) if n_in_a_row else 0.0):
            begun_s = time.monotonic()
            try:
                if n_in_a_row:
                    self._sockets.close()
                    self._begin()
                self._serve()
            except Exception as error:  # noqa: BLE001 - the thread boundary
                n_in_a_row = 1 + (n_in_a_row if time.monotonic() - begun_s < _STEADY_S else 0)
                self._note(error, gives_up=n_in_a_row >= _MOST_FAILURES)
        self._lose_all()
        self._sockets.close(linger_s=0.2)

    def _serve(self) -> None:
        turned_s = time.monotonic()
        while not self._closing.is_set():
            self._sockets.poll(_FULL_S if self._flush() else _TURN_S)
            self._receive()
            now_s = time.monotonic()
            self._look(min(now_s - turned_s, _LONGEST_TURN_S), now_s)
            turned_s = now_s
        for identity in list(self._peers):
            self._post(identity, link.Dismiss())

    def _note(self, error: Exception, *, gives_up: bool) -> None:
        logger.error("link to remote workers failed: %s", error, exc_info=error)
        self.cut_off = self.hosts
        self.failure, self.n_failures = f"{type(error).__name__}: {error}", self.n_failures + 1
        self._lose_all()
        self.error = error if gives_up else None

    def _lose_all(self) -> None:
        with self._guard:
            peers, self._peers = self._peers, {}
        for peer in peers.values():
            peer.lose("was cut off: the daemon's link to other machines is closed")

    def _receive(self) -> None:
        for _ in range(_MESSAGES_A_TURN):
            if (received := self._socket.receive()) is None:
                return
            self._take(received)

    def _take(self, received: Received) -> None:
        peer = self._peers.get(received.peer)
        try:
            if not received.parts:
                raise ProtocolError("an empty message came")
            message = link.from_worker.decode(received.parts[0])
        except ProtocolError as error:
            if peer is not None:
                peer.lose(f"sent an invalid message: {error}")
            return
        if isinstance(message, link.WorkerFree):
            self._greet(received.peer, message)
        elif peer is not None and (runs := peer.runs.get(message.session)) is not None:
            peer.silent_s = 0.0
            runs.take(message, received.parts[1:])
        else:
            self._post(received.peer, link.Leave(message.session))

    def _greet(self, identity: bytes, hello: link.WorkerFree) -> None:
        """Note that a worker has nothing to do."""
        self.refused = link.refusal(hello)
        if self.refused:
            logger.warning("worker refused: %s", self.refused)
            self._post(identity, link.Dismiss(self.refused))
            return
        peer = self._peers.get(identity)
        if peer is None:
            logger.info("worker connected host=%s", hello.host)
        elif peer.last_session not in (None, hello.left):  # said before it got the order
            peer.silent_s = 0.0
            return
        else:
            peer.lose("was left")
        with self._guard:
            self._peers[identity] = RemotePeer(identity, hello.host)

    def _look(self, took_s: float, now_s: float) -> None:
        """Find workers for what is wanted; give up those that are silent; say that the daemon is there."""
        for peer in list(self._peers.values()):
            peer.silent_s += took_s
            if peer.silent_s > link.LOST_S:
                self._forget(peer, f"is silent: nothing has come from {peer.host} for {link.LOST_S:.0f} s")
        with self._guard:
            matched = list(self._matched())
        for session, peer, inference in matched:
            inference.join(session, peer.host, partial(self._queue, peer))
        if now_s - self._beat_s > link.BEAT_S:
            self._beat_s = now_s
            for peer in list(self._peers.values()):
                if self._post(peer.identity, link.Ping()) == "gone":  # a process that ends closes it, however it ends
                    self._forget(peer, f"ended: the connection of {peer.host} is closed")

    def _matched(self) -> Iterator[tuple[int, RemotePeer, RemoteInference]]:
        """Yield what is wanted with the machine that gets it: where its worker is at work, else a free one."""
        for inference in list(self._wanted):
            peers = [peer for peer in self._peers.values() if peer.works_for(inference.owner)]
            peers += [peer for peer in self._peers.values() if peer.is_free]
            if peers:
                self._wanted.remove(inference)
                session = peers[0].last_session = next(self._numbers)
                peers[0].runs[session] = inference
                yield session, peers[0], inference

    def _forget(self, peer: RemotePeer, how: str) -> None:
        with self._guard:
            del self._peers[peer.identity]
        logger.warning("worker lost host=%s: it %s", peer.host, how)
        peer.lose(how)

    # -- sending -----------------------------------------------------------------------------------------------------

    def _queue(self, peer: RemotePeer, message: link.ToSession, parts: Sequence[NDArray[Any] | bytes]) -> None:
        """Let the thread send a message after those before it; from any thread."""
        peer.unsent.append((message, parts))
        self._sockets.wake()

    def _flush(self) -> bool:
        """Send what ZeroMQ takes; return whether something is left."""
        for peer in self._peers.values():
            while peer.unsent:
                message, parts = peer.unsent[0]
                runs = peer.runs.get(message.session)
                if runs is None and not isinstance(message, link.Leave):  # of a process that was ended
                    peer.unsent.popleft()
                    continue
                if not self._socket.send([link.to_worker.encode(message), *parts], to=peer.identity):
                    break
                peer.unsent.popleft()
                if runs is not None:
                    runs.moved(parts)
        return any(peer.unsent for peer in self._peers.values())

    def _post(self, identity: bytes, message: link.ToWorker) -> SendOutcome:
        """Send a short message beside the others; where the queue is full it is dropped: it is said again."""
        return self._socket.deliver([link.to_worker.encode(message)], to=identity)
