"""A scheduler that does not answer, or is something else, is said in one line."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path

import pytest

from care_live.errors import ConfigError
from care_live.offline import dask_client
from care_live.offline.dask_client import connect


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    monkeypatch.setattr(dask_client, "CONNECT_S", 0.2)
    monkeypatch.setattr(dask_client, "ANSWER_S", 0.2)


def refused(workers: str | Path) -> None:
    level = logging.getLogger("distributed.client").level
    with pytest.raises(ConfigError, match="no Dask worker answers"), connect(workers):
        pass
    assert logging.getLogger("distributed.client").level == level, "Dask's log is as it was"


def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "scheduler.json").write_text(json.dumps({"address": "tcp://127.0.0.1:1"}))
    (tmp_path / "damaged.json").write_text("{")
    for workers in ("tcp://127.0.0.1:1", *(tmp_path / f"{name}.json" for name in ("scheduler", "damaged", "none"))):
        refused(workers)


@pytest.mark.slow
def test_a_file_of_a_scheduler_in_whose_place_something_else_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        file = tmp_path / "stale.json"
        file.write_text(json.dumps({"address": f"tcp://127.0.0.1:{other.getsockname()[1]}"}))
        refused(file)
