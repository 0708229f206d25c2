"""A worker on another machine that is slow, or that lies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from care_live.errors import WorkerLostError
from care_live.images import VolumeKey
from care_live.reasons import whole
from care_live.wire.keys import ClientKeys
from care_live.wire.sockets import Socket, Sockets
from care_live.worker import protocol, remote_inference
from care_live.worker import remote_protocol as link
from care_live.worker.carried_files import carried
from care_live.worker.client import RestoreProcess
from care_live.worker.remote_inference import RemoteInference
from care_live.worker.remote_port import RemotePort
from tests.make.inference import planes_of, settings
from tests.make.remote import WAIT_S, open_port, remote_worker, until_connected
from tests.make.remote_links import FIXED, stack
from tests.make.waiting import until


@pytest.mark.slow
def test_a_slow_link_holds_few_planes_and_gets_no_further_volume(
    network: Path, ready: protocol.Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker gets the rest of the planes with the order; the intake does not wait for it."""
    monkeypatch.setattr(remote_inference, "QUEUED_BYTES", 4 * 24 * 20 * 2)
    config = settings(network, normalise=FIXED, streaming="on")
    queued: list[tuple[link.ToWorker, Sequence[np.ndarray | bytes]]] = []
    inference = RemoteInference(config, carried(config), {}, lambda _: None)
    inference.join(1, "slow", lambda message, parts: queued.append((message, parts)))
    inference.take(link.WorkerAnswer(1, ready), [])
    inference.moved(queued.pop()[1])
    far = RestoreProcess(config, lambda *_: inference)
    far.start()
    try:
        for t in range(2):
            opened, planes = planes_of(stack(t))
            far.arrivals.begin(opened)
            for plane in planes:
                far.arrivals.place(plane)
        assert sum(len(parts) for _, parts in queued) == 4
        assert far.supervisor.is_full
        assert far.arrivals.drop(VolumeKey(1, 0)) == whole("slow-link")
        inference.moved([part for _, parts in queued for part in parts])
        assert not far.supervisor.is_full
    finally:
        far.stop()


Lie = Callable[["Liar", protocol.Work], None]


class Liar:
    """Behaves until it is to restore."""

    def __init__(self, dealer: Socket, ready: protocol.Ready, lie: Lie) -> None:
        self._dealer, self._ready, self._lie = dealer, ready, lie
        self.session = 0

    def follow(self, message: link.ToWorker) -> None:
        match message:
            case link.SessionStart(session=session):
                self.session = session
                self.say(link.WorkerAnswer(session, self._ready))
            case link.Order(request=protocol.Work() as work):
                self._lie(self, work)
            case link.Ping():
                self.say(link.Beat(self.session, 0.0))

    def say(self, message: link.FromWorker, *parts: np.ndarray) -> None:
        assert self._dealer.send([link.from_worker.encode(message), *parts])

    def raw(self, text: bytes) -> None:
        assert self._dealer.send([text])

    def done(self, work: protocol.Work) -> protocol.Done:
        from care_live.images import RestoredHead

        head = work.volumes[0]
        result = RestoredHead(
            key=head.key, sources=(head.key,), voxel_size_um=head.voxel_size_um, low=0.0, high=1.0,
            model=self._ready.networks[0].identity,
        )  # fmt: skip
        return protocol.Done((result,), (("mean",),), {}, whole("stored"))


@contextmanager
def liar(port: RemotePort, ready: protocol.Ready, lie: Lie) -> Iterator[None]:
    ended = threading.Event()
    invitation = port.invitation(port.address)

    def run() -> None:
        with Sockets(client=ClientKeys(invitation.own, invitation.server_public)) as sockets:
            dealer = sockets.connect("dealer", port.address, hwm=100)
            dealer.send([link.from_worker.encode(link.WorkerFree("liar"))])
            one = Liar(dealer, ready, lie)
            while not ended.is_set():
                sockets.poll(0.05)
                while (received := dealer.receive()) is not None:
                    one.follow(link.to_worker.decode(received.parts[0]))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(WAIT_S)


def garbage(of: Liar, work: protocol.Work) -> None:
    of.raw(b"\xc1 garbage")


def wrong_shape(of: Liar, work: protocol.Work) -> None:
    of.say(link.MapPlanes(of.session, work.volumes[0].key, "mean", 0, 0), np.zeros(7, np.float32))


def too_many_planes(of: Liar, work: protocol.Work) -> None:
    places = work.results["mean"].shape
    of.say(link.MapPlanes(of.session, work.volumes[0].key, "mean", 0, 1), np.zeros(places[1:], np.float32))


def unknown_output(of: Liar, work: protocol.Work) -> None:
    of.say(link.MapPlanes(of.session, work.volumes[0].key, "mean", 9, 0), np.zeros(places_of(work), np.float32))


def no_planes(of: Liar, work: protocol.Work) -> None:
    of.say(link.WorkerAnswer(of.session, of.done(work)))


def places_of(work: protocol.Work) -> tuple[int, ...]:
    return work.results["mean"].shape[1:]


def never(of: Liar, work: protocol.Work) -> None:
    """Beats go on."""


def twice(of: Liar, work: protocol.Work) -> None:
    of.say(link.MapPlanes(of.session, work.volumes[0].key, "mean", 0, 0), np.zeros(places_of(work), np.float32))
    for _ in range(2):
        of.say(link.WorkerAnswer(of.session, of.done(work)))


@pytest.fixture(scope="module")
def ready(network: Path) -> protocol.Ready:
    near = RestoreProcess(settings(network))
    near.start()
    found = near.supervisor.ready
    near.stop()
    assert found is not None
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (garbage, "invalid message"),
        (wrong_shape, "28 bytes came as planes"),
        (too_many_planes, "came as planes of mean from z=1"),
        (unknown_output, "not asked for"),
        (no_planes, "not all planes of mean 0 have come"),
        (never, "has done nothing"),
    ],
)
def test_a_worker_that_lies_is_lost(port: RemotePort, network: Path, ready, lie: Lie, why: str, monkeypatch) -> None:
    monkeypatch.setattr(remote_inference, "IDLE_S", 1.0 if lie is never else 60.0)
    far = RestoreProcess(settings(network), port.open)
    with liar(port, ready, lie):
        try:
            far.start()
            with pytest.raises(WorkerLostError, match=why):
                far.restore([stack(0)])
        finally:
            far.stop()


@pytest.mark.slow
def test_an_answer_that_comes_twice_loses_the_worker(port: RemotePort, network: Path, ready) -> None:
    far = RestoreProcess(settings(network), port.open)
    with liar(port, ready, twice):
        try:
            far.start()
            assert far.restore([stack(0)])[0].key == VolumeKey(0, 0)
            until(lambda: not far.supervisor.is_ready, WAIT_S)
        finally:
            far.stop()


@pytest.mark.slow
def test_a_worker_that_is_lost_while_it_starts_is_followed_by_another(
    network: Path, ready: protocol.Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins to load a network, and its machine loses its power."""
    begun = threading.Event()

    def fall_silent(_: Liar, message: link.ToWorker) -> None:
        if isinstance(message, link.SessionStart):
            begun.set()

    monkeypatch.setattr(Liar, "follow", fall_silent)
    with open_port() as port, liar(port, ready, lambda *_: None):
        until_connected(port)
        far = RestoreProcess(settings(network), port.open)
        start = threading.Thread(target=far.start)
        start.start()
        try:
            until(begun.is_set, WAIT_S)
            with remote_worker(port.invitation(port.address)):
                start.join(WAIT_S)
                assert not start.is_alive()
                assert far.restore([stack(0)])[0].mean.shape == (6, 24, 20)
                assert far.supervisor.host != "liar"
        finally:
            far.stop()
