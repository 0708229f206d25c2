"""Messages to single watchers: what counts as held, what is not sent, and how often one is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from care_live.images import NotRestored, Plan, RunStarted, StateChanged, VolumeKey
from care_live.publish.encoder import Run
from care_live.publish.log import Log
from care_live.publish.message_sender import BULK_NOTE_BYTES, MessageSender
from care_live.publish.message_writer import MessageWriter
from care_live.publish.watchers import Watcher
from care_live.wire import cl1
from care_live.wire.messages import Gap, Message, Refused, Skipped, Start
from care_live.wire.sockets import Socket, Sockets
from tests.make.samples import NETWORK


@dataclass
class Link:
    """A router, and a dealer that reads what it sends."""

    sockets: Sockets
    router: Socket
    dealer: Socket
    log: Log = field(default_factory=lambda: Log(2**20))

    def __post_init__(self) -> None:
        self.sender = MessageSender(self.router, MessageWriter(Run("a" * 16, "run-1", (NETWORK,)), self.log))

    def watcher(self) -> Watcher:
        """Return the dealer, as the router knows it once a message of it has come."""
        assert self.dealer.send([b"hello"])
        return Watcher(self._received(self.router).peer, 0.0)

    def came(self) -> Message:
        message, _ = cl1.decode(self._received(self.dealer).parts)
        return message

    def is_silent(self) -> bool:
        self.sockets.poll(0.05)
        return self.dealer.receive() is None

    def _received(self, socket: Socket) -> Any:
        while (received := socket.receive()) is None:
            self.sockets.poll(60.0)
        return received


@pytest.fixture
def link() -> Iterator[Link]:
    with Sockets() as sockets:
        router = sockets.bind("router", "tcp://127.0.0.1:*", hwm=64)
        yield Link(sockets, router, sockets.connect("dealer", router.address, hwm=64))


def note(t: int, detail: str = "") -> NotRestored:
    return NotRestored(VolumeKey(t), "skipped", detail)


def started(names: Sequence[str]) -> RunStarted:
    return RunStarted("run-1", Plan({VolumeKey(0): (0,)}, (4, 4), positions=tuple(names)))


def test_a_small_note_is_sent_and_not_counted_as_held(link: Link) -> None:
    watcher = link.watcher()
    assert link.sender.note(watcher, link.log.append(note(3, "busy")))
    came = link.came()
    assert isinstance(came, Skipped) and (came.key[0], came.seq) == (3, 0)
    assert not watcher.held


def test_a_long_note_is_held_for_its_watcher_like_a_volume(link: Link) -> None:
    watcher = link.watcher()
    names = [f"well {p:05d}, {'x' * 80}" for p in range(1000)]
    assert link.sender.note(watcher, link.log.append(started(names)))
    (held,) = watcher.held
    assert held.nbytes > BULK_NOTE_BYTES
    came = link.came()
    assert isinstance(came, Start) and len(came.plan.positions) == 1000


def test_a_note_that_cannot_be_encoded_is_a_gap_in_its_place(link: Link) -> None:
    watcher = link.watcher()
    link.log.append(note(0))
    assert link.sender.note(watcher, link.log.append(StateChanged(VolumeKey(-1), "confirmed")))
    came = link.came()
    assert isinstance(came, Gap) and (came.first, came.last, came.reason) == (1, 1, "unreadable")


def test_a_watcher_that_is_gone_takes_nothing(link: Link) -> None:
    nowhere = Watcher(b"\x00nobody", 0.0)
    entry = link.log.append(note(0))
    assert not link.sender.note(nowhere, entry)
    assert not link.sender.bulk(nowhere, [b"{}"]) and not nowhere.held
    assert not link.sender.gap(nowhere, "forgotten", "", first=0, last=0)


def test_one_that_asks_wrongly_again_and_again_is_refused_a_few_times_only(link: Link) -> None:
    watcher = link.watcher()
    for _ in range(100):
        link.sender.refuse(watcher, "protocol", "no such request")
    n_refused = 0
    while not link.is_silent():
        n_refused += 1
    assert n_refused + 1 <= 17, "each message that is_silent took is one of them"
    watcher.received_s = 10.0
    link.sender.refuse(watcher, "protocol", "x" * 5000)
    came = link.came()
    assert isinstance(came, Refused) and came.reason == "protocol" and len(came.detail) <= 1000


def test_connections_without_a_place_share_their_refusals(link: Link) -> None:
    peers = [link.watcher().peer for _ in range(30)]
    for peer in peers:
        link.sender.turn_away(peer, 0.0)
    refused = []
    for _ in range(20):
        refused.append(link.came())
    assert link.is_silent()
    assert {one.reason for one in refused if isinstance(one, Refused)} == {"too-many-watchers"}
