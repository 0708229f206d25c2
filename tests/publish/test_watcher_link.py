"""A watcher that cannot read what comes: it says so once, gives its place back and comes again ever later."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from care_live.publish import Delivery, Subscriber
from care_live.publish.watcher_link import FIRST_S, MOST_S, Backoff
from care_live.wire import cl1
from care_live.wire.sockets import Sockets
from tests.make import messages


def test_pauses_double_up_to_the_longest_and_begin_anew_after_success() -> None:
    backoff = Backoff(chance=lambda: 0.0)
    pauses = [backoff.fail() for _ in range(12)]
    assert pauses[:4] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S, 8 * FIRST_S]
    assert pauses[-1] == MOST_S and all(pause <= MOST_S for pause in pauses)
    backoff.succeed()
    assert backoff.fail() == FIRST_S


def test_watchers_that_fail_together_do_not_come_back_together() -> None:
    assert Backoff(chance=lambda: 1.0).fail() == FIRST_S / 2
    assert Backoff(chance=lambda: 0.5).fail() == 0.75 * FIRST_S


class NewerDaemon:
    """Answers hello by a heartbeat and a start that this version cannot read; then by all that it has."""

    def __init__(self) -> None:
        self._hub = Sockets()
        self._router = self._hub.bind("router", "tcp://127.0.0.1:0", hwm=100)
        self.address = self._router.address
        self.peers: set[bytes] = set()
        self.is_readable = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        start = bytes(cl1.encode(messages.NOTES["start"])[0])  # type: ignore[arg-type]
        unreadable = start.replace(b'"interval_s":2.5', b'"interval_s":-5')
        assert unreadable != start
        while not self._over.is_set():
            self._hub.poll(0.1)
            while (received := self._router.receive()) is not None:
                self.peers.add(received.peer)
                self._router.send(cl1.encode(messages.NOTES["heartbeat"]), to=received.peer)
                self._router.send([start if self.is_readable else unreadable], to=received.peer)
                if self.is_readable:
                    message, buffers = messages.volume()
                    self._router.send(cl1.encode(message, buffers), to=received.peer)

    def close(self) -> None:
        self._over.set()
        self._thread.join(60)
        self._hub.close()


@pytest.fixture
def daemon() -> Iterator[NewerDaemon]:
    opened = NewerDaemon()
    yield opened
    opened.close()


@pytest.mark.slow
def test_an_unreadable_start_costs_the_daemon_few_places_and_the_log_one_line(
    daemon: NewerDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), Subscriber(daemon.address) as watching:
        until = time.monotonic() + 4.0
        while time.monotonic() < until or watching.n_damaged < 2:
            watching.next(0.2)
        assert len(daemon.peers) <= 8, "a connection for each answer would take every place within seconds"
        daemon.is_readable = True
        received = None
        while not (isinstance(received, Delivery) and received.is_whole) and time.monotonic() < until + 90:
            received = watching.next(0.5)
    assert isinstance(received, Delivery) and received.is_whole, "once it can be read, the watcher goes on"
    said = [record for record in caplog.records if "unreadable" in record.message]
    assert len(said) == 1 and "interval_s" in said[0].message
