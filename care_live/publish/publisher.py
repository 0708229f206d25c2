"""The publisher: a daemon hands records over and goes on; a thread of its own sends them to viewers."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Iterator

from care_live.config import PublishConfig
from care_live.errors import ConfigError, ProtocolError, StageError
from care_live.images import NetworkInUse, NotRestored, Restored, RunEnded, RunStarted, StateChanged, Volume, VolumeKey
from care_live.publish.backlog_reader import ReadStored
from care_live.publish.broadcast import Broadcast, BroadcastChannel
from care_live.publish.drain import LOOK_S, Drain
from care_live.publish.encoder import Encoder, Parts, Run
from care_live.publish.log import Entry, Log, LogRecord
from care_live.publish.message_writer import MessageWriter
from care_live.publish.router import Router
from care_live.wire.address import port_of
from care_live.wire.daemon_status import Status
from care_live.wire.keys import read_server
from care_live.wire.sockets import Sockets

logger = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
MAX_TAKEN, TURN_S, NETWORK_S = 32, 0.01, 0.005
"""Messages that are taken from each socket in one turn, and how long a turn lasts when more of them wait."""
HWM_ROUTER = 64
"""Mostly notes: volumes are bounded by each watcher's credit."""
_CATCH_UP_S = 2.5
_END_S = 9.0
"""The last words to clients take up to 2 s of it, the rest is for a machine that does ten other things.

The longest wait for recorders and this one together are less than the daemon gives each room to close.
"""


class Publisher:
    """Sends restored volumes to viewers and recorders; no method but `close` ever waits.

    Parameters
    ----------
    config
        Addresses, keys and memory.
    replay_from_store
        Returns a volume that has left the memory, or None; called in a thread of its own.

    Raises
    ------
    ConfigError
        A port is taken, an address needs keys, or a key file is missing or can be read by others.
    """

    def __init__(self, config: PublishConfig, *, replay_from_store: ReadStored | None = None) -> None:
        self.session = secrets.token_hex(8)
        """Drawn anew for every publisher: numbers count within it."""
        self._log = Log(config.replay_mib * 1024**2)
        self._run = Run(self.session)
        self._status = Status()
        self._started: RunStarted | None = None
        self._closing = threading.Event()
        self._drain = Drain()
        self._n_taken, self._take_at_s = 0, 0.0
        self.error: BaseException | None = None
        """Why the thread ended before its time; the run goes on without watchers."""
        self.n_unpublished = 0
        """Records and messages that publishing could not take or send; each is logged."""
        self._keys = read_server(config.server_key_file, config.authorized_keys_file)
        self._sockets = Sockets(server=self._keys)
        self._writer, encoder = MessageWriter(self._run, self._log), Encoder(self._run, self._log)
        try:
            router = self._sockets.bind("router", config.bind_pull, hwm=HWM_ROUTER)
            self.broadcast = Broadcast(
                self._sockets,
                config.bind,
                self._writer,
                encoder=encoder,
                run=self._run,
                announce=self._sockets.wake,
                raw=config.raw,
            )
            """What all subscribers get at once; planes of volumes that are still being restored are given to it."""
        except ConfigError:
            self._sockets.close()
            raise
        self.address, self.address_pull = self.broadcast.address, router.address
        self._run.broadcast_port = port_of(self.address)
        self._router = Router(
            router, self._writer, encoder, self._log, read=replay_from_store, announce=self._sockets.wake
        )
        self._thread = threading.Thread(target=self._main, name="publish")
        self._thread.start()
        logger.info("publishing at=%s pull=%s", self.address, self.address_pull)

    @property
    def n_watchers(self) -> int:
        """Connections with a recent request."""
        return len(self._router.watchers)

    @property
    def held_bytes(self) -> int:
        """Bytes of arrays that are kept for later requests."""
        return self._log.held_bytes

    @property
    def subscribed(self) -> frozenset[BroadcastChannel]:
        """What the clients of the PUB port have subscribed to."""
        return self.broadcast.subscribed

    def start(self, started: RunStarted, *networks: NetworkInUse) -> None:
        """A run begins: its plan, and the networks that will restore it."""
        self._run.run, self._run.networks = started.run_id, networks
        self._started = started
        self._append(started)

    @property
    def failure(self) -> str:
        """What is wrong with publishing, for the daemon's status; empty: all is well."""
        if self.error is not None:
            return (
                f"publishing has failed ({self.error}): viewers get no more volumes; {self.n_unpublished} were not sent"
            )
        return f"{self.n_unpublished} messages could not be published: see the log" if self.n_unpublished else ""

    def describe_networks(self, *networks: NetworkInUse) -> None:
        """These networks restore from now on; if they are others, viewers get the run's start again."""
        before = [(one.identity, one.channels) for one in self._run.networks]
        is_other = before != [(one.identity, one.channels) for one in networks]
        self._run.networks = networks
        if is_other and self._started is not None:
            self._append(self._started)

    def publish(self, restored: Restored | Volume, *, until_settled: bool = False) -> None:
        """Publish a volume; its arrays are shared, not copied, and must never change again.

        Parameters
        ----------
        until_settled : keep it in memory, whatever ``replay_mib`` says, until `settle` is called for its key
        """
        self._append(restored, until_settled=until_settled)

    def settle(self, key: VolumeKey) -> None:
        """The store has written a volume, or has refused it for good; called once for each that waits for it."""
        self._log.settle(key)

    def change(self, changed: StateChanged) -> None:
        """A published volume was confirmed, or became suspect."""
        self._append(changed)

    def skipped(self, not_restored: NotRestored) -> None:
        """A volume came and was not restored (yet)."""
        self._append(not_restored)

    def heartbeat(self, status: Status) -> None:
        """Say the daemon's status from the next heartbeat on."""
        self._status = status

    def end(self, ended: RunEnded) -> None:
        """The run is over."""
        self._append(ended)

    def drain(self, timeout_s: float) -> bool:
        """Wait until every recorder has what it requested, while requests come; False: none came within the time."""
        self._sockets.wake()
        return self._drain.wait(lambda: self._log.end, timeout_s)

    def close(self, deadline_s: float = _END_S) -> None:
        """Let recorders catch up, as long as they make progress; then end the threads and free the ports.

        Raises
        ------
        StageError
            A thread did not end in time.
        """
        self.drain(_CATCH_UP_S)
        self._closing.set()
        self._sockets.wake()
        until_s = time.monotonic() + deadline_s
        self._thread.join(deadline_s)
        self._router.close()
        self.broadcast.close()
        rooms = (self._router, self.broadcast)
        ended = all(room.join(max(0.0, until_s - time.monotonic())) for room in rooms)
        if not ended or self._thread.is_alive():
            raise StageError(f"publishing did not end within {deadline_s:g} s: the store may hang; end the process")

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _append(self, record: LogRecord, *, until_settled: bool = False) -> None:
        """Give a record to the log; a failure is counted and logged, and never reaches the acquisition."""
        try:
            if self.error is not None:  # without its thread the log would only grow
                self.n_unpublished += 1
                return
            self._log.append(record, until_settled=until_settled)
            self._sockets.wake()
        except Exception as error:  # the boundary to the acquisition: watchers miss something, the run goes on
            self.n_unpublished += 1
            logger.exception("not published record=%s error=%s", type(record).__name__, error)

    def _main(self) -> None:
        try:
            self._loop()
        except Exception as error:  # the thread boundary: the daemon shows it, the acquisition goes on
            logger.exception("publishing failed: viewers get no more volumes, the run and its storage go on")
            self.broadcast.close()  # its slabs would never be sent
            self.error = error
            self._drain.give_up()
        finally:
            self._sockets.close(linger_s=0.5)

    def _loop(self) -> None:
        sent, beat_s = 0, time.monotonic()
        while not self._closing.is_set():
            self._wait(beat_s - time.monotonic())
            now_s = time.monotonic()
            self._apply_allow_list()
            self._take_requests(now_s)
            sent = self._turn(sent, now_s)
            self._note_progress(sent, now_s)
            if now_s >= beat_s:
                beat_s = now_s + HEARTBEAT_S
                self._router.beat(self._beat(), now_s)
                self.broadcast.beat(lambda count: self._beat(count=count))
        self._turn(sent, time.monotonic())

    def _wait(self, timeout_s: float) -> None:
        """Wait for something to do; messages wait while their senders have used up their turn."""
        if self._drain.is_on:
            timeout_s = min(timeout_s, LOOK_S)
        rest_s = self._take_at_s - time.monotonic()
        if rest_s > 0:
            self._sockets.rest(min(rest_s, timeout_s))
        else:
            self._sockets.poll(min(NETWORK_S, timeout_s) if self._router.waits_for_network else timeout_s)

    def _take_requests(self, now_s: float) -> None:
        """Take requests: enough in one turn for all watchers, and few enough for the rest of the work."""
        if now_s < self._take_at_s:
            return
        self._n_taken = self._router.receive(now_s, self._beat, MAX_TAKEN)
        if max(self._n_taken, self.broadcast.receive(MAX_TAKEN)) >= MAX_TAKEN:
            self._take_at_s = now_s + TURN_S

    def _turn(self, sent: int, now_s: float) -> int:
        """Send what is ready and order what comes next; return the number after the last entry that was sent."""
        sent = self._send_entries(sent)
        self.broadcast.serve()
        self._router.serve(now_s)
        return sent

    def _note_progress(self, sent: int, now_s: float) -> None:
        has_sent = self._router.has_sent_all(now_s) and self.broadcast.is_idle
        self._drain.note(sent if has_sent else 0, self._n_taken)
        self._n_taken = 0

    def _apply_allow_list(self) -> None:
        """Disconnect all subscribers when a guest was removed from the list; the router checks it at every message."""
        if self._keys is not None and self._keys.allowed.has_changed():
            self.broadcast.hang_up()
        self.broadcast.open_again()

    def _beat(self, **more: int) -> Parts:
        try:
            return self._writer.heartbeat(self._status, self.n_watchers, **more)
        except ProtocolError as error:  # its words come from networks and other machines: none may end publishing
            logger.error("heartbeats go without the daemon's status: %s", error)
            self._status = Status(note=f"the daemon's status cannot be sent: {error}"[:500])
            return self._writer.heartbeat(self._status, self.n_watchers, **more)

    def _send_entries(self, sent: int) -> int:
        """Send what was appended since; return the number after the last entry that was sent."""
        for entry in self._log.since(sent):
            sent = entry.seq + 1
            with self._contained(f"seq={entry.seq}"):
                self._send_entry(entry)
        return sent

    def _send_entry(self, entry: Entry) -> None:
        if entry.key is None:
            self._router.note(entry)
            self._writer.note(entry)
            self.broadcast.note(entry)
        elif isinstance(entry.record, Restored | Volume):
            self.broadcast.volume(entry, entry.record)

    @contextlib.contextmanager
    def _contained(self, what: str) -> Iterator[None]:
        """Count and log what can't be sent, and go on with the next."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - one message is lost, and counted; all others go on
            self.n_unpublished += 1
            logger.warning("unsendable %s error=%s: %s", what, type(error).__name__, error)
