"""One small network, an inference process that runs it, and a port for those on other machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from care_live.worker import remote_protocol as link
from care_live.worker.client import RestoreProcess
from care_live.worker.remote_port import RemotePort
from tests.make.inference import settings
from tests.make.networks import save_network
from tests.make.remote import open_port


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "net.onnx", filters=2)


@pytest.fixture
def process(network: Path) -> Iterator[RestoreProcess]:
    ours = RestoreProcess(settings(network))
    ours.start()
    yield ours
    ours.stop()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[RemotePort]:
    monkeypatch.setattr(link, "LOST_S", 20.0)  # a busy machine is not a lost one
    with open_port() as opened:
        yield opened
