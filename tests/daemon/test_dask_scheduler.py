"""A Dask scheduler: by its address or its file, asked for seconds at most, and what differs on its workers."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path

import pytest

from care_live.daemon import dask_scheduler
from care_live.daemon.dask_scheduler import client_of, look, version_here
from tests.make.dask_cluster import Cluster, wait_for


def test_a_port_where_nothing_listens_is_refused_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: no other program gets it
        with pytest.raises(OSError), client_of(f"tcp://127.0.0.1:{taken.getsockname()[1]}"):
            pass


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"address": '])
def test_a_file_that_is_no_schedulers_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(text)
    with pytest.raises((ValueError, KeyError)):
        look(str(file))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="scheduler"):
        look(str(tmp_path / "scheduler.json"))


def has_a_worker(file: Path) -> bool:
    with contextlib.suppress(OSError):  # it does not answer yet
        return look(str(file)).n_workers == 1
    return False


@pytest.mark.slow
def test_what_a_scheduler_says_of_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(tmp_path, n_workers=1)
    try:
        wait_for(lambda: has_a_worker(cluster.file))
        by_file = look(str(cluster.file))
        address = json.loads(cluster.file.read_text())["address"]
        assert look(address) == by_file
        assert (by_file.address, by_file.n_with_gpu, by_file.other_versions) == (address, 1, ())
        older = {"care-live": "0.0.1", "distributed": version_here("distributed")}
        monkeypatch.setattr(dask_scheduler, "version_here", older.__getitem__)
        (said,) = look(address).other_versions
        assert said == f"care-live {version_here('care-live')} on 1 of its workers, 0.0.1 here"
    finally:
        cluster.close()
