"""The stages of a run, wired: with real inference and a real disk, and a source that follows a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from care_live.acquisition_plan import REFERENCE
from care_live.config import Config
from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.pipeline import Pipeline, Rooms
from care_live.daemon.run_metrics import Tally
from care_live.daemon.worker_group import WorkerGroup
from care_live.images import Plan, RunEnded, RunStarted, VolumeKey
from care_live.publish.publisher import Publisher
from care_live.store import RunReader, open_run
from tests.make import records, samples
from tests.make.inference import settings
from tests.make.runs import config
from tests.make.scripted import SHAPE, Script, Scripted, frames, pixels_of, plan
from tests.make.waiting import until

pytestmark = pytest.mark.slow
KEYS = [VolumeKey(t) for t in range(4)]
WAIT_S = 240.0
Run = Callable[..., "Wired"]


@pytest.fixture(scope="module")
def restorer(network: Path) -> Iterator[WorkerGroup]:
    group = WorkerGroup(settings(network, hang_s=60.0))
    group.start()
    yield group
    group.stop()


class Wired:
    """A pipeline with its open rooms."""

    def __init__(self, settings_: Config, source: Scripted, of: Plan, restorer: WorkerGroup, rooms: ExitStack) -> None:
        self.source, self.failures, self.tally = source, list[BaseException](), Tally()
        started = RunStarted("test", of)
        writer = rooms.enter_context(closing(open_run(settings_.store, started)))
        publisher = rooms.enter_context(closing(Publisher(samples.config())))
        publisher.start(started, samples.NETWORK)
        bulkheads = (Bulkhead(room, "the run goes on", self.tally) for room in ("publishing", "restoring"))
        opened = Rooms(source, writer, restorer, publisher, *bulkheads)
        self.pipeline = Pipeline(settings_, opened, self.tally, started, on_failure=self.failures.append)
        rooms.callback(self.end)

    def to_the_end(self) -> None:
        """Wait until everything that came is restored and stored."""
        until(lambda: not self.pipeline.busy, WAIT_S)
        self.pipeline.close_storage()
        assert self.pipeline.storing.ended_within(WAIT_S)
        assert not self.failures

    def end(self) -> None:
        self.pipeline.stop()
        self.pipeline.close_storage()
        for stage in self.pipeline.stages:
            assert stage.ended_within(WAIT_S)


@pytest.fixture
def run(tmp_path: Path, restorer: WorkerGroup) -> Iterator[Run]:
    with ExitStack() as rooms:

        def opened(script: Script, of: Plan, *, by: WorkerGroup = restorer, **sections: dict[str, object]) -> Wired:
            settings_ = config(tmp_path, {"kind": "virtual"}, **sections)
            return Wired(settings_, Scripted(script), of, by, rooms)

        yield opened


def movie(*keys: VolumeKey) -> Script:
    for key in keys:
        yield from frames(key)
    yield RunEnded("finished")


def test_what_comes_is_stored_restored_and_counted(run: Run, tmp_path: Path) -> None:
    one = run(movie(*KEYS), plan(KEYS))
    one.pipeline.start()
    one.to_the_end()
    reader = RunReader(tmp_path / "runs" / "test")
    assert reader.keys("raw") == reader.keys("restored") == KEYS
    assert all((reader.read("raw", key) == pixels_of(key)).all() for key in KEYS)
    one.pipeline.refresh()
    status = one.tally.status()
    assert (status.stored_raw, status.stored_restored, status.restored, status.waiting_bytes) == (4, 4, 4, 0)
    assert status.model == "net" and status.streaming
    assert one.pipeline.ended == RunEnded("finished")
    assert (one.pipeline.n_unkept, one.pipeline.busy) == (0, False)
    assert one.pipeline.store_progress[0] >= 8


def test_volumes_of_an_earlier_session_are_restored_and_references_are_not(run: Run, tmp_path: Path) -> None:
    twin = VolumeKey(0, 0, 1)
    of = Plan(dict.fromkeys([*KEYS, twin], (0, 1, 2, 3)), SHAPE[1:], channels=("GFP", f"GFP{REFERENCE}"))
    store = config(tmp_path, {"kind": "virtual"}).store
    with closing(open_run(store, RunStarted("test", of))) as writer:
        for key in (KEYS[0], KEYS[1], twin):
            writer.write_raw(records.volume(pixels_of(key), key))
    one = run(movie(), of)
    one.pipeline.start()
    one.to_the_end()
    assert RunReader(tmp_path / "runs" / "test").keys("restored") == KEYS[:2]
    assert one.tally.status().restored_late == 2


def test_raw_volumes_find_memory_where_others_wait_for_restoration(run: Run, tmp_path: Path) -> None:
    """Eight volumes fit into memory; nothing is restored, and the disk keeps up."""
    keys = [VolumeKey(0, p) for p in range(20)]

    def script() -> Script:
        for n, key in enumerate(keys, 1):
            yield from frames(key)
            while one.tally.status().stored_raw < n:
                yield None
        yield RunEnded("finished")

    of = replace(plan(keys), positions=tuple(f"position {p}" for p in range(20)))
    one = run(script(), of, assemble={"memory_mib": 1})
    one.pipeline.storing.start()
    one.pipeline.intake.start()
    until(lambda: not one.pipeline.intake.alive, WAIT_S)
    status = one.tally.status()
    assert (status.refused_volumes, status.stored_raw) == (0, 20)
    one.pipeline.refresh()
    waiting = one.tally.status()
    assert waiting.waiting_volumes <= 8 and waiting.waiting_bytes <= 2**20
    assert status.skipped == 20 - waiting.waiting_volumes > 0
    assert not one.failures


def test_a_channel_that_the_run_lacks_costs_its_restoration_and_no_photon(
    run: Run, network: Path, tmp_path: Path
) -> None:
    asked = WorkerGroup(settings(network, hang_s=60.0, channels=("Cy5",)))
    asked.start()
    try:
        one = run(movie(*KEYS), plan(KEYS), by=asked)
        one.pipeline.start()
        one.to_the_end()
        assert one.tally.status().faults == {"channels": 1}
        reader = RunReader(tmp_path / "runs" / "test")
        assert (reader.keys("raw"), reader.keys("restored")) == (KEYS, [])
    finally:
        asked.stop()


def test_a_stop_takes_nothing_more_and_writes_what_has_come(run: Run, tmp_path: Path) -> None:
    def script() -> Script:
        yield from frames(KEYS[0])
        yield from frames(KEYS[1], 2)
        yield one.pipeline.stop
        yield from frames(KEYS[2])

    one = run(script(), plan(KEYS))
    one.pipeline.start()
    one.to_the_end()
    assert one.pipeline.ended.reason == "aborted"
    reader = RunReader(tmp_path / "runs" / "test")
    assert reader.keys("raw") == KEYS[:2]
    assert (reader.read("raw", KEYS[1])[:2] == pixels_of(KEYS[1])[:2]).all()


def test_a_source_that_hangs_is_concluded_in_its_place(run: Run, tmp_path: Path) -> None:
    def script() -> Script:
        yield from frames(KEYS[0], 3)
        while True:
            yield None

    one = run(script(), plan(KEYS))
    one.pipeline.start()
    until(lambda: one.tally.status().received_planes == 3, WAIT_S)
    assert one.pipeline.conclude("no event for a minute")
    one.to_the_end()
    assert one.pipeline.ended == RunEnded("stalled", "no event for a minute")
    assert RunReader(tmp_path / "runs" / "test").keys("raw") == KEYS[:1]


def test_the_time_from_one_result_to_the_next_is_planned_or_seen(run: Run) -> None:
    keys = [VolumeKey(t, p, c) for t in range(2) for p in range(3) for c in range(2)]
    of = Plan(
        dict.fromkeys(keys, (0, 1, 2, 3)),
        SHAPE[1:],
        channels=("GFP", f"GFP{REFERENCE}"),
        positions=("a", "b", "c"),
        interval_s=60.0,
    )
    planned = run(movie(), of)
    assert planned.pipeline.interval_s == 20.0, "at three positions; references are not restored"
    planned.pipeline.start()
    planned.to_the_end()


def test_without_a_planned_interval_none_is_known_before_the_first_volume(run: Run) -> None:
    assert run(movie(), plan(KEYS)).pipeline.interval_s is None
