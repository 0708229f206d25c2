"""What several workers restore, recorded once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from care_live.daemon.health import Health
from care_live.store import RunReader
from tests.make.by_workers import N_TIMES, RESTORE, SHAPE
from tests.make.networks import save_network
from tests.make.runs import config, movie, replay, run
from tests.make.status_address import LIMITS, serving


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "movie.tif"
    movie(path, times=N_TIMES, shape=SHAPE)
    return path


@pytest.fixture(scope="session")
def by_one(film: Path) -> RunReader:
    """What one worker on this machine makes of it."""
    run(config(film.parent, replay(film), restore=RESTORE))
    return RunReader(film.parent / "runs" / "test")


@pytest.fixture
def orders() -> list[object]:
    """What was ordered."""
    return []


@pytest.fixture
def health(orders: list[object]) -> Iterator[Health]:
    with serving(orders, LIMITS) as served:
        yield served


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "net.onnx", filters=2)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("other") / "other.onnx", filters=2, seed=5)
