"""The port for workers on other machines: links that fail, and keys that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from care_live.config import RestoreConfig
from care_live.wire.keys import ClientKeys
from care_live.wire.sockets import Sockets, new_pair
from care_live.worker import remote_port
from care_live.worker import remote_protocol as link
from care_live.worker.client import RestoreProcess
from care_live.worker.remote_port import RemotePort
from tests.make.inference import settings
from tests.make.networks import save_network
from tests.make.remote import WAIT_S, until_connected
from tests.make.remote import remote_worker as started
from tests.make.remote_links import stack
from tests.make.waiting import until


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
    monkeypatch.setattr(remote_port, "PAUSE_S", 0.001)
    monkeypatch.setattr(Sockets, "poll", fails)
    until(lambda: port.error is not None, WAIT_S)
    assert port.n_failures > 1


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


def test_a_network_that_was_written_anew_under_its_name_is_sent_as_it_is_now(
    port: RemotePort, network: Path, tmp_path: Path
) -> None:
    model = tmp_path / "worm.onnx"
    model.write_bytes(network.read_bytes())
    running = settings(model)
    before = files_sent(port, running)
    save_network(model, filters=3)
    on_trial = files_sent(port, settings(model))
    assert before == [network.read_bytes()]
    assert on_trial == [model.read_bytes()] != before
    assert files_sent(port, running) == before, "a worker that is replaced gets the network that runs"


def files_sent(port: RemotePort, config: RestoreConfig) -> list[bytes]:
    """Return the files that a worker gets with the order to start."""
    sent: list[bytes] = []
    inference = port.open(config, {})
    inference.join(0, "there", lambda _, parts: sent.extend(parts))
    inference.end(0.0)
    return sent
