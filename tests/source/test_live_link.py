"""The daemon's end of Live: the camera's end that reported last is asked, once for each frame that is wanted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from care_live.errors import ConfigError
from care_live.images import read_only
from care_live.live_frame import LiveFrame
from care_live.source import live_link, live_protocol
from care_live.source.live_link import LiveLink
from care_live.wire.sockets import Socket, Sockets
from tests.make.waiting import until

WAIT_S = 90.0
HOUR_NS = 3600 * 10**9


@pytest.fixture
def link() -> Iterator[LiveLink]:
    opened = LiveLink("tcp://127.0.0.1:0")
    yield opened
    opened.close()


@pytest.fixture
def hub() -> Iterator[Sockets]:
    with Sockets() as sockets:
        yield sockets


class Taking:
    """A thread that wants one frame."""

    def __init__(self, link: LiveLink) -> None:
        self.frame: LiveFrame | None = None
        self._thread = threading.Thread(target=self._take, args=(link,))
        self._thread.start()

    def _take(self, link: LiveLink) -> None:
        self.frame = link.frames.take(WAIT_S)

    def result(self) -> LiveFrame | None:
        self._thread.join(WAIT_S)
        return self.frame


def asked(hub: Sockets, camera: Socket) -> None:
    """Wait until a frame is wanted of a camera's end."""
    got: list[Any] = []

    def came() -> bool:
        hub.poll(0.1)
        received = camera.receive()
        got.extend([] if received is None else [received])
        return bool(got)

    until(came, WAIT_S)
    live_protocol.check_wanted(got[0].parts)


def frame(number: int, host_time_ns: int = 0) -> LiveFrame:
    return LiveFrame(read_only(np.full((4, 6), number, np.uint16)), number, host_time_ns)


def test_a_frame_comes_when_it_is_wanted_by_the_clock_of_this_machine(
    link: LiveLink, hub: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_link, "AGAIN_S", 1e6)  # a request that is repeated would be taken for the next one
    camera = hub.connect("dealer", link.address)
    camera.send(live_protocol.here(HOUR_NS))
    taking = Taking(link)
    asked(hub, camera)
    camera.send(live_protocol.frame_parts(frame(7, HOUR_NS - 10**9), HOUR_NS))
    taken = taking.result()
    assert taken is not None and taken.number == 7 and (taken.pixels == 7).all()
    wanted = Taking(link)
    asked(hub, camera)
    camera.send(live_protocol.frame_parts(frame(8, HOUR_NS), HOUR_NS - 10**9))
    later = wanted.result()
    assert later is not None
    assert later.host_time_ns - taken.host_time_ns == 10**9, "the offset that the quickest message showed is kept"


def test_the_camera_that_reported_last_is_asked(link: LiveLink, hub: Sockets) -> None:
    first, second = (hub.connect("dealer", link.address) for _ in range(2))
    first.send(live_protocol.here(0))
    taking = Taking(link)
    asked(hub, first)
    second.send(live_protocol.here(0))
    asked(hub, second)
    second.send(live_protocol.frame_parts(frame(2), 0))
    taken = taking.result()
    assert taken is not None and taken.number == 2


def test_what_breaks_the_protocol_is_dropped_and_logged_ever_more_seldom(
    link: LiveLink, hub: Sockets, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    camera = hub.connect("dealer", link.address, hwm=64)
    for _ in range(9):
        camera.send([b"{}"])
    camera.send(live_protocol.here(0))
    taking = Taking(link)
    asked(hub, camera)
    camera.send(live_protocol.frame_parts(frame(3), 0))
    assert taking.result() is not None
    said = [record.getMessage() for record in caplog.records if "live message dropped" in record.getMessage()]
    assert [text.rpartition("(")[2] for text in said] == [f"{n} so far)" for n in (1, 2, 4, 8)]


def test_no_camera_is_asked_while_no_frame_is_wanted(link: LiveLink, hub: Sockets) -> None:
    camera = hub.connect("dealer", link.address)
    camera.send(live_protocol.here(0))
    hub.poll(0.3)
    assert camera.receive() is None


def test_an_address_that_is_taken_is_refused_and_leaves_no_thread(link: LiveLink) -> None:
    with pytest.raises(ConfigError):
        LiveLink(link.address)


def test_closing_lets_the_one_that_waits_go_on(link: LiveLink) -> None:
    taking = Taking(link)
    until(lambda: link.frames.is_wanted)
    link.close()
    assert taking.result() is None
