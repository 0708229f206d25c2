"""Any client at the tap's port: the run goes on or ends with a clear reason, and every wait ends in time."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from care_live.checksum import crc32c
from care_live.config import RemoteConfig
from care_live.images import (
    Frame,
    Plan,
    PlaneIndex,
    RunEnded,
    RunStarted,
    SourceEvent,
    StillAcquiring,
    VolumeKey,
    read_only,
)
from care_live.source import tap
from care_live.source.remote import Remote
from care_live.wire import tap_codec, tap_protocol
from care_live.wire.sockets import Socket, Sockets

NAME = "ab" * 16
PLAN = Plan({VolumeKey(t): (0,) for t in range(1000)}, (6, 7))


@pytest.fixture
def remote() -> Iterator[Remote]:
    opened = Remote(RemoteConfig(bind="tcp://127.0.0.1:0"), run_id="run", silent_s=120.0, stop_s=1.0)
    yield opened
    opened.close()


def start(number: int = 0, name: str = NAME) -> list[Any]:
    envelope = tap_codec.Envelope(name, number, 0, time.monotonic_ns())
    return tap_protocol.encode(tap_codec.event_message(RunStarted("r", PLAN), envelope, token=""))


def plane(number: int, name: str = NAME) -> list[Any]:
    pixels = read_only(np.full((6, 7), number, np.uint16))
    frame = Frame("r", 0, PlaneIndex(number - 1, 0, 0, 0), pixels, time.monotonic_ns())
    envelope = tap_codec.Envelope(name, number, 0, time.monotonic_ns())
    return tap_protocol.encode(
        tap_codec.event_message(frame, envelope, token="", checksum=crc32c(pixels)), frame.pixels
    )


def until(remote: Remote, condition: Callable[[SourceEvent], bool], within_s: float = 60.0) -> list[SourceEvent]:
    """Return the events up to the first for which a condition holds."""
    got: list[SourceEvent] = []
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        event = remote.next_event(0.2)
        if event is not None:
            got.append(event)
            if condition(event):
                return got
    pytest.fail(f"it did not come within {within_s} s; {got[-3:]} did")


def ends(event: SourceEvent) -> bool:
    return isinstance(event, RunEnded)


class Flood:
    """A client that sends as fast as it can, and reads what comes."""

    def __init__(self, address: str, *messages: list[Any]) -> None:
        self._address, self._messages = address, messages
        self._over = threading.Event()
        self.answers: list[bytes] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with Sockets() as hub:
            flooding = hub.connect("dealer", self._address, hwm=1000)
            while not self._over.is_set():
                for message in self._messages:
                    flooding.send(message)
                while (received := flooding.receive()) is not None and len(self.answers) < 1000:
                    self.answers.append(bytes(received.parts[0]))

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join(60)


GARBAGE: list[list[Any]] = [[b"{"], [b"", b"x"], [b"\xff" * 99], [b'{"link":2,"type":"frame"}', b"x" * 999]]


def ping(name: str = "ee" * 16) -> list[Any]:
    return tap_protocol.encode(tap_codec.ping(tap_codec.Envelope(name, 3, 0, time.monotonic_ns())))


@pytest.mark.parametrize("flood", [GARBAGE, [ping()], [start(name="dd" * 16)], [[b"y" * 100_000]]])
def test_a_stranger_that_floods_costs_the_run_no_frame(
    remote: Remote, flood: list[list[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    planned = [{"axes": {"time": t}} for t in range(200)]
    with caplog.at_level(logging.WARNING):
        tapped = tap(remote.address, events=planned)
        tapped(np.zeros((6, 7), np.uint16), {"Axes": {"time": 0}})
        until(remote, lambda event: isinstance(event, Frame))
        with Flood(remote.address, *flood) as stranger:
            thread = threading.Thread(target=bring, args=(tapped, planned[1:]))
            thread.start()
            got = until(remote, ends)
            thread.join()
        tapped.close(within_s=5.0)
    assert len([event for event in got if isinstance(event, Frame)]) == 199
    assert got[-1] == RunEnded("finished", n_delivered=200)
    assert any(b'"refuse"' in answer for answer in stranger.answers)
    assert len(caplog.records) < 40, "a flood must not fill the log"


def bring(tapped: Any, planned: list[dict[str, Any]]) -> None:
    for event in planned:
        tapped(np.zeros((6, 7), np.uint16), {"Axes": event["axes"]})
        time.sleep(0.002)


def test_asking_for_an_event_ends_in_time_under_a_flood_before_the_run(remote: Remote) -> None:
    with Flood(remote.address, ping(), *GARBAGE):
        for _ in range(5):
            began = time.monotonic()
            assert remote.next_event(0.3) is None
            assert time.monotonic() - began < 60.0
        remote.stop()
        assert isinstance(until(remote, ends)[-1], RunEnded)


@contextlib.contextmanager
def connected(remote: Remote) -> Iterator[Socket]:
    with Sockets() as hub:
        yield hub.connect("dealer", remote.address, hwm=1000)


def test_a_tap_that_sends_nonsense_ends_its_run_with_the_reason(remote: Remote) -> None:
    with connected(remote) as sends:
        sends.send(start())
        until(remote, lambda event: isinstance(event, RunStarted))
        sends.send(plane(1))
        until(remote, lambda event: isinstance(event, Frame))
        for _ in range(30):
            sends.send([b"nonsense"])
        ended = until(remote, ends)[-1]
        assert isinstance(ended, RunEnded)
        assert ended.reason == "failed" and "20 broken messages in a row" in ended.detail


def test_a_stranger_cannot_end_the_run_of_another_tap(remote: Remote) -> None:
    with connected(remote) as sends, connected(remote) as strange:
        sends.send(start())
        until(remote, lambda event: isinstance(event, RunStarted))
        for _ in range(100):
            strange.send([b"nonsense"])
        assert remote.next_event(1.0) is None
        sends.send(plane(1))
        assert isinstance(until(remote, lambda event: True)[0], Frame)


@pytest.mark.parametrize("first", [*GARBAGE, ping(), plane(3), start()[:1] * 2], ids=range(7))
def test_whatever_comes_first_the_real_tap_is_taken(remote: Remote, first: list[Any]) -> None:
    with connected(remote) as strange, connected(remote) as sends:
        for _ in range(25):
            strange.send(first)
        assert remote.next_event(0.5) is None
        sends.send(start(name="cd" * 16))
        assert isinstance(until(remote, lambda event: True)[0], RunStarted)


def test_a_start_that_is_too_large_is_refused_and_the_daemon_waits_on(remote: Remote) -> None:
    header = json.loads(bytes(start()[0]))
    header["plan"]["stacks"] = [{"p": 0, "c": 0, "z": [0], "t": [[0, 2**50]]}]
    with connected(remote) as sends, Sockets() as hub:
        sends.send([json.dumps(header).encode()])
        deadline = time.monotonic() + 60
        while (refused := sends.receive()) is None and time.monotonic() < deadline:
            assert remote.next_event(0.05) is None
        assert refused is not None and b"at most 1000000" in bytes(refused.parts[0])
        assert not remote.has_begun
        hub.connect("dealer", remote.address).send(start(name="cd" * 16))
        assert isinstance(until(remote, lambda event: True)[0], RunStarted)


def test_half_open_connections_do_not_keep_a_tap_out(remote: Remote) -> None:
    host, port = remote.address.removeprefix("tcp://").split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(30)]
    try:
        with connected(remote) as sends:
            sends.send(start())
            assert isinstance(until(remote, lambda event: True)[0], RunStarted)
    finally:
        for one in idle:
            one.close()


def test_a_tap_that_does_not_stop_when_asked_is_left(remote: Remote) -> None:
    """It goes on and on with frames: the wait ends all the same."""
    over = threading.Event()

    def go_on() -> None:
        with Sockets() as hub:
            sends = hub.connect("dealer", remote.address, hwm=10)
            sends.send(start())
            number = 1
            while not over.is_set():
                number += sends.send(plane(number))

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        until(remote, lambda event: isinstance(event, Frame))
        remote.stop()
        ended = until(remote, ends)[-1]
    finally:
        over.set()
        thread.join(60)
    assert isinstance(ended, RunEnded)
    assert (ended.reason, "did not end within" in ended.detail) == ("aborted", True)


def test_a_tap_that_freezes_in_the_middle_ends_the_run() -> None:
    impatient = Remote(RemoteConfig(bind="tcp://127.0.0.1:0"), run_id="run", silent_s=3.0)
    with contextlib.closing(impatient), connected(impatient) as sends:
        sends.send(start())
        sends.send(plane(1))
        got = until(impatient, ends)
    came = [type(event) for event in got if not isinstance(event, StillAcquiring)]  # while nothing comes
    assert came == [RunStarted, Frame, RunEnded]
    assert "for 3 s" in got[-1].detail  # type: ignore[union-attr]


def test_a_daemon_that_says_it_has_what_was_not_sent_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with Sockets() as hub:
        router = hub.bind("router", "tcp://127.0.0.1:0")
        tapped = tap(router.address, events=[{"axes": {"time": 0}}])
        tapped(np.zeros((6, 7), np.uint16), {"Axes": {"time": 0}})
        deadline = time.monotonic() + 60
        while (received := router.receive()) is None:
            assert time.monotonic() < deadline
            hub.poll(0.1)
        router.send(tap_protocol.encode(tap_protocol.Ack(next_number=10**6, epoch=0)), to=received.peer)
        tapped.close(within_s=0.5)
    assert "the daemon did not take 3 messages" in caplog.text
