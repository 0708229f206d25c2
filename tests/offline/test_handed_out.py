"""Units go to Dask's workers and come back in order; those that are short share a task."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from care_live.offline import handed_out as module
from care_live.offline.dask_client import connect
from care_live.offline.handed_out import AHEAD, handed_out, resources_of, result_of_one
from tests.make.dask_cluster import WAIT_S, Cluster, wait_for
from tests.make.unordered import Unordered

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), n_workers=1)
    try:
        with connect(cluster.file) as client:
            yield client
    finally:
        cluster.close()


def squared(number: int) -> int:
    return number * number


def waits(number: int, *, for_s: float) -> int:
    time.sleep(for_s)
    return number


def fails_at(number: int, *, at: int) -> int:
    if number == at:
        raise LookupError(f"unit {number} cannot be done")
    return number


def test_short_units_share_tasks_and_come_in_order(client: Any) -> None:
    tasks, results = [], []
    for units, outcome in handed_out(client, Unordered(client, squared), iter(range(500))):
        tasks.append(units)
        results += outcome.result().results
    assert results == [squared(number) for number in range(500)]
    assert list(itertools.chain(*tasks)) == list(range(500))
    assert len(tasks) < 100, [len(units) for units in tasks]


def test_units_that_take_long_go_alone(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TASK_S", 0.02)
    work = Unordered(client, partial(waits, for_s=0.03))
    assert all(len(units) == 1 for units, outcome in handed_out(client, work, iter(range(20))) if outcome.result())


def test_units_that_may_not_share_a_task_do_not(client: Any) -> None:
    class Pairs(Unordered):
        def joins(self, one: int, following: int) -> bool:
            return one // 2 == following // 2

    tasks = [
        units for units, outcome in handed_out(client, Pairs(client, squared), iter(range(200))) if outcome.result()
    ]
    assert list(itertools.chain(*tasks)) == list(range(200))
    assert (2, 3) in tasks or (100, 101) in tasks
    assert all(len({number // 2 for number in units}) == 1 for units in tasks)


def test_an_error_comes_where_its_unit_would_have_come(client: Any) -> None:
    done: list[int] = []
    with pytest.raises(LookupError, match="unit 30 cannot be done"):
        for _, outcome in handed_out(client, Unordered(client, partial(fails_at, at=30)), iter(range(60))):
            done += outcome.result().results
    assert done == list(range(len(done))) and len(done) <= 30


def test_that_no_worker_is_left_is_said_once_and_one_that_comes_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One without a GPU is none for tasks that take one."""
    monkeypatch.setattr(module, "ABSENT_S", 0.5)
    cluster = Cluster(tmp_path, n_workers=1)
    try:
        with connect(cluster.file) as client, ThreadPoolExecutor(1) as pool:
            cluster.workers.append(cluster.add_worker(2, resources="CPU=1"))
            client.wait_for_workers(2, timeout=WAIT_S)
            given = handed_out(client, Unordered(client, squared), iter(range(20)))
            assert next(given)[1].result().results == (0,)
            cluster.workers[0].kill()
            rest = pool.submit(lambda: [result for _, outcome in given for result in outcome.result().results])
            wait_for(lambda: "no worker with GPU is left at the Dask scheduler" in caplog.text or rest.done())
            time.sleep(4 * module.ABSENT_S)
            cluster.workers.append(cluster.add_worker(1))
            assert rest.result(WAIT_S) == [number * number for number in range(1, 20)]
            assert caplog.text.count("no worker with GPU is left") == 1
            assert caplog.text.count("has a worker again: work goes on") == 1
    finally:
        cluster.close()


@pytest.mark.alone  # a scheduler starts at the port of the one before
def test_a_scheduler_that_is_started_again_gets_what_was_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("care_live.offline.dask_client.ANSWER_S", WAIT_S)  # a busy machine starts one slowly
    cluster = Cluster(tmp_path, n_workers=1)
    try:
        with connect(cluster.file) as client, ThreadPoolExecutor(1) as pool:
            given = handed_out(client, Unordered(client, partial(waits, for_s=0.01)), iter(range(60)))
            assert next(given)[1].result().results == (0,)
            cluster.restart_scheduler()
            cluster.workers.append(cluster.add_worker(1))
            rest = pool.submit(lambda: [result for _, outcome in given for result in outcome.result().results])
            assert rest.result(WAIT_S) == list(range(1, 60))
            assert caplog.text.count("it is given once more") == 1
    finally:
        cluster.close()


@pytest.mark.alone  # a scheduler starts at the port of the one before
def test_a_task_of_its_own_is_asked_again_of_a_scheduler_that_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("care_live.offline.dask_client.ANSWER_S", WAIT_S)
    cluster = Cluster(tmp_path, n_workers=1)
    try:
        with connect(cluster.file) as client, ThreadPoolExecutor(1) as pool:
            futures: list[Any] = []

            def submit() -> Any:
                futures.append(client.submit(waits, len(futures), for_s=0.0 if futures else 3600.0, pure=False))
                return futures[-1]

            asked = pool.submit(result_of_one, client, submit, {})
            wait_for(lambda: bool(futures) and any(client.processing().values()))
            cluster.restart_scheduler()
            cluster.workers.append(cluster.add_worker(1))
            assert asked.result(WAIT_S) == 1
    finally:
        cluster.close()


class _Away:
    """A client whose scheduler loses all that it is given."""

    status = "running"

    class scheduler:  # noqa: N801 - as Dask has it
        address = "tcp://nowhere:1"


def test_a_scheduler_that_loses_all_again_and_again_is_given_up() -> None:
    n_tries = itertools.count()

    def submit() -> Any:
        next(n_tries)
        raise CancelledError

    with pytest.raises(CancelledError):
        result_of_one(_Away(), submit, {})
    assert next(n_tries) == module.MOST_LOSSES + 1


def test_no_more_is_handed_out_than_workers_may_be_ahead(client: Any) -> None:
    taken: list[int] = []

    def units() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    given = handed_out(client, Unordered(client, squared), units())
    next(given)
    assert len(taken) <= AHEAD + 1
    given.close()


def test_tasks_take_a_gpu_where_workers_have_one() -> None:
    assert resources_of([{"resources": {}}, {"resources": {"GPU": 1}}]) == {"GPU": 1}
    assert resources_of([{}, {"resources": {"GPU": 0}}]) == {}
