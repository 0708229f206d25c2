"""One small network, and an inference process that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from care_live.worker.client import RestoreProcess
from tests.make.inference import settings
from tests.make.networks import save_network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "net.onnx", filters=2)


@pytest.fixture
def process(network: Path) -> Iterator[RestoreProcess]:
    ours = RestoreProcess(settings(network))
    ours.start()
    yield ours
    ours.stop()
