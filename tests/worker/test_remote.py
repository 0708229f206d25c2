"""Inference on another machine: the same numbers over a link, and what a worker does there costs its volume only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from care_live.errors import ModelError, WorkerLostError
from care_live.images import Restored, Volume, VolumeKey
from care_live.reasons import whole
from care_live.wire.keys import ClientKeys
from care_live.wire.sockets import Socket, Sockets, new_pair
from care_live.worker import protocol, remote_inference, remote_port, remote_worker
from care_live.worker import remote_protocol as link
from care_live.worker.carried_files import carried
from care_live.worker.client import RestoreProcess
from care_live.worker.remote_inference import RemoteInference
from care_live.worker.remote_port import RemotePort
from care_live.worker.remote_worker import RemoteWorker
from tests.make.inference import planes_of, settings
from tests.make.networks import noisy
from tests.make.records import volume
from tests.make.remote import WAIT_S, open_port, until_connected
from tests.make.remote import remote_worker as started
from tests.make.waiting import until

FIXED = {"mode": "fixed", "low_counts": 90.0, "high_counts": 900.0}


@pytest.fixture
def port() -> Iterator[RemotePort]:
    with open_port() as opened:
        yield opened


def stack(t: int, shape: tuple[int, int, int] = (6, 24, 20)) -> Volume:
    return volume(noisy(shape, seed=t) * (t + 1), VolumeKey(t, 0))


def equal(ours: tuple[Restored, ...], theirs: tuple[Restored, ...]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert (one.key, one.low, one.high, one.model, one.flags) == (
            other.key, other.low, other.high, other.model, other.flags,
        )  # fmt: skip
        assert set(one.maps) == set(other.maps)
        for head, array in one.maps.items():
            np.testing.assert_array_equal(array, other.maps[head])


@pytest.mark.slow
def test_results_are_those_of_a_worker_on_this_machine(port: RemotePort, network: Path, monkeypatch) -> None:
    """Whole, with more messages than one, and plane by plane; a network file that lies on this machine only."""
    monkeypatch.setattr(link, "PART_BYTES", 2 * 24 * 20 * 2)
    config = settings(network, normalise=FIXED)
    near, far = RestoreProcess(config), RestoreProcess(config, port.open)
    with started(port.invitation(port.address)):
        try:
            near.start()
            far.start()
            assert far.host and not far.is_absent
            for t in range(2):
                equal(far.restore([stack(t)]), near.restore([stack(t)]))
            far.warm_up((6, 24, 20))
            for t in range(2, 6):
                opened, planes = planes_of(stack(t))
                far.arrivals.begin(opened)
                shown: list[Restored] = []
                for plane in planes:
                    far.arrivals.place(plane)
                    shown += far.arrivals.restored_planes()
                restored = far.restore([stack(t)])
                (expected,) = near.restore([stack(t)])
                np.testing.assert_allclose(restored[0].maps["mean"], expected.maps["mean"], rtol=1e-3, atol=0.5)
                for one in shown:
                    np.testing.assert_array_equal(one.maps["mean"], restored[0].maps["mean"][one.z])
            assert far.choice is not None and far.choice.kind == "stream"
        finally:
            near.stop()
            far.stop()
    until(lambda: not port.hosts, WAIT_S)


@pytest.mark.slow
def test_a_lost_worker_is_replaced_by_another(port: RemotePort, network: Path) -> None:
    far = RestoreProcess(settings(network), port.open)
    with started(port.invitation(port.address)) as process:
        try:
            far.start()
            (before,) = far.restore([stack(0)])
            process.kill()
            with pytest.raises(WorkerLostError, match="is silent"):
                far.restore([stack(1)])
            assert far.is_absent
            with started(port.invitation(port.address)):
                far.revive()
                (after,) = far.restore([stack(0)])
                np.testing.assert_array_equal(after.maps["mean"], before.maps["mean"])
        finally:
            far.stop()


@pytest.mark.slow
def test_a_link_that_fails_is_begun_anew_and_its_worker_comes_back(
    port: RemotePort, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = RestoreProcess(settings(network), port.open)
    address = port.address
    with started(port.invitation(address)) as process:
        try:
            far.start()
            (before,) = far.restore([stack(0)])
            with monkeypatch.context() as broken:
                broken.setattr(link, "Ping", fails)
                until(lambda: port.n_failures > 0, WAIT_S)
            far.revive()
            (after,) = far.restore([stack(0)])
            np.testing.assert_array_equal(after.maps["mean"], before.maps["mean"])
            assert (port.error, port.address, process.poll()) == (None, address, None)
            assert port.failure == "OSError: the network card is gone"
        finally:
            far.stop()


def fails(*_: object) -> link.Ping:
    raise OSError("the network card is gone")


def test_a_link_that_fails_again_and_again_is_given_up(port: RemotePort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_port, "_PAUSE_S", 0.001)
    monkeypatch.setattr(Sockets, "poll", fails)
    until(lambda: port.error is not None, WAIT_S)
    assert port.n_failures > 1


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
        assert far.is_full
        assert far.arrivals.drop(VolumeKey(1, 0)) == whole("slow-link")
        inference.moved([part for _, parts in queued for part in parts])
        assert not far.is_full
    finally:
        far.stop()


@pytest.mark.slow
def test_a_network_that_can_not_run_there_is_refused_with_its_reason(port: RemotePort, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    far = RestoreProcess(settings(tmp_path / "no.onnx"), port.open)
    with started(port.invitation(port.address)), pytest.raises(ModelError, match="ONNX"):
        far.start()


@pytest.mark.slow
def test_a_worker_ends_with_the_program_that_started_it(port: RemotePort) -> None:
    with started(port.invitation(port.address)) as process:
        until_connected(port)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(WAIT_S)


def test_a_worker_ends_when_the_daemon_is_gone(port: RemotePort, monkeypatch) -> None:
    """A daemon that is killed says nothing any more."""
    invitation = port.invitation(port.address)
    client = ClientKeys(invitation.own, invitation.server_public)

    def serve() -> None:
        with Sockets(client=client) as sockets:
            RemoteWorker(sockets, sockets.connect("dealer", "tcp://127.0.0.1:1")).serve()

    monkeypatch.setattr(remote_worker.link, "FORSAKEN_S", 0.5)
    thread = threading.Thread(target=serve)
    thread.start()
    thread.join(WAIT_S)
    assert not thread.is_alive()


def test_a_worker_with_another_key_does_not_get_in(port: RemotePort) -> None:
    invitation = port.invitation(port.address)
    for keys in (
        ClientKeys(new_pair(), invitation.server_public),
        ClientKeys(invitation.own, invitation.server_public),
    ):
        with Sockets(client=keys) as sockets:
            dealer = sockets.connect("dealer", port.address)
            dealer.send([link.from_worker.encode(link.WorkerFree(keys.own.public))])
            if keys.own == invitation.own:
                until_connected(port)
            else:
                sockets.poll(0.5)
    assert port.hosts == (invitation.own.public,)


# -- a worker that lies ----------------------------------------------------------------------------------------------

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
    monkeypatch.setattr(remote_inference, "_IDLE_S", 1.0 if lie is never else 60.0)
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
            until(lambda: not far.is_ready, WAIT_S)
        finally:
            far.stop()


def test_a_worker_that_is_dismissed_ends_without_an_error() -> None:
    with open_port() as port, started(port.invitation(port.address)) as worker:
        until_connected(port)
        port.close()
        assert worker.wait(WAIT_S) == 0
