"""The intake: what each volume goes to and in which order, and that its run ends whatever the source does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from care_live.acquisition_plan import REFERENCE
from care_live.assemble import Assembler
from care_live.config import AssembleConfig
from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.inbox import Inbox, InboxClosed
from care_live.daemon.intake import Intake
from care_live.daemon.lag import Lag
from care_live.daemon.memory_budget import MemoryBudget
from care_live.daemon.policy import Schedule
from care_live.daemon.run_metrics import Tally
from care_live.daemon.storing import StorageRecord
from care_live.daemon.unstored_frames import UnstoredFrames
from care_live.daemon.volume_states import VolumeStates
from care_live.daemon.worker_group import WorkerGroup
from care_live.daemon.worklist import Worklist
from care_live.images import NotRestored, Plan, RunEnded, SequenceEnded, StateChanged, Volume, VolumeKey
from care_live.publish.delivery import Delivery
from care_live.publish.publisher import Publisher
from care_live.publish.subscriber import Subscriber
from care_live.restore.channel_choice import ChannelChoice, ChannelGroup
from care_live.trust.references import References
from tests.make import samples
from tests.make.inference import settings
from tests.make.scripted import SHAPE, Script, Scripted, frames, pixels_of, plan, started
from tests.make.waiting import until
from tests.make.watching import until as next_of

KEYS = [VolumeKey(t) for t in range(3)]
MIB = 2**20


class Following:
    """An intake with real stages around it; restoration is not started, and the test is the store."""

    def __init__(
        self,
        source: Scripted,
        publisher: Publisher,
        of: Plan,
        *,
        channels: ChannelChoice | None = None,
        assembler: Assembler | None = None,
    ) -> None:
        self.storage: Inbox[StorageRecord] = Inbox("store", MIB)
        self.worklist = Worklist(Schedule(channels=channels or ChannelChoice(), plan=of))
        self.budget, self.tally, self.unstored = MemoryBudget(64 * MIB), Tally(), UnstoredFrames()
        assembler = assembler or Assembler(AssembleConfig(), admit=self.budget.admit)
        assembler.take(started(of))
        restorer = WorkerGroup(settings(Path("unused.onnx")))
        self.publisher = publisher
        publisher.start(started(of), samples.NETWORK)
        self.intake = Intake(
            source=source,
            assembler=assembler,
            restorer=restorer,
            publisher=publisher,
            storage=self.storage,
            worklist=self.worklist,
            budget=self.budget,
            tally=self.tally,
            lag=Lag(60.0),
            publishing=Bulkhead("publishing", "unpublished", self.tally),
            restoring=Bulkhead("restoring", "raw only", self.tally),
            voxel_size_um=of.voxel_size_um,
            references=References(of),
            states=VolumeStates(),
            unstored=self.unstored,
        )

    def kept(self) -> list[StorageRecord]:
        """Return what went to the store by now."""
        found = []
        with suppress(InboxClosed):
            while (record := self.storage.get(0.0)) is not None:
                found.append(record)
        return found

    def raw(self) -> list[Volume]:
        return [one for one in self.kept() if isinstance(one, Volume)]


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with closing(Publisher(samples.config())) as opened:
        yield opened


def movie(*keys: VolumeKey, n_last: int | None = None) -> Script:
    """Give these volumes; of the last one some planes only."""
    for key in keys:
        yield from frames(key, n_last if key == keys[-1] else None)
    yield RunEnded("finished")


def test_each_volume_goes_to_the_store_and_waits_for_restoration(publisher: Publisher) -> None:
    one = Following(Scripted(movie(*KEYS)), publisher, plan(KEYS))
    one.intake.work()
    kept = one.kept()
    volumes = [record for record in kept if isinstance(record, Volume)]
    assert [volume.key for volume in volumes] == KEYS
    assert all((volume.pixels == pixels_of(volume.key)).all() for volume in volumes)
    assert [record.key for record in kept if isinstance(record, NotRestored)] == KEYS[:2]
    assert kept[-1] == RunEnded("finished") == one.intake.ended
    assert one.worklist.waiting == (1, 2), "the newest live, those that it overtook later"
    status = one.tally.status()
    assert (status.received_planes, status.planned_planes, status.skipped) == (12, 12, 2)
    nbytes = volumes[0].pixels.nbytes
    assert one.budget.used_bytes == 3 * nbytes
    assert not status.faults
    for volume in volumes:
        one.budget.release(volume.key, nbytes)  # by the store
    assert one.budget.used_bytes == nbytes, "of those that were skipped the restorer holds nothing"


def test_what_the_store_does_not_take_is_not_restored_either(publisher: Publisher) -> None:
    one = Following(Scripted(movie(*KEYS)), publisher, plan(KEYS))
    one.storage.close()
    with pytest.raises(InboxClosed):
        one.intake.work()
    assert one.worklist.waiting == (0, 0)
    assert one.intake.ended.reason == "failed"


def test_references_and_channels_of_no_network_are_stored_and_not_restored(publisher: Publisher) -> None:
    keys = [VolumeKey(0, 0, c) for c in range(3)]
    names = ("GFP", f"GFP{REFERENCE}", "brightfield")
    of = Plan({key: tuple(range(SHAPE[0])) for key in keys}, SHAPE[1:], channels=names)
    assert of.twin_of(1) == 0
    only = ChannelChoice((ChannelGroup(0, (0,)), ChannelGroup(0, (1,))), None)
    one = Following(Scripted(movie(*keys)), publisher, of, channels=only)
    with Subscriber(publisher.address_pull) as watching:
        one.intake.work()
        shown = next_of(watching, Delivery)
    assert shown.key == keys[2], "what passes through is shown as it was recorded"
    assert [volume.key for volume in one.raw()] == keys
    assert one.worklist.waiting == (1, 0)
    turn = one.worklist.next()
    assert turn is not None and turn.job.keys == (keys[0],)


def test_the_first_plane_of_each_kind_that_has_no_place_is_a_warning(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    def script() -> Script:
        yield from frames(KEYS[0], 2)
        yield from frames(KEYS[0], 2)
        yield from frames(VolumeKey(9), 2)
        yield RunEnded("finished")

    with caplog.at_level(logging.DEBUG, "care_live.daemon.intake"):
        one = Following(Scripted(script()), publisher, plan(KEYS[:1]))
        one.intake.work()
    dropped = [record for record in caplog.records if record.getMessage().startswith("plane dropped")]
    assert [(record.levelno, record.getMessage().split("reason=")[1].split()[0]) for record in dropped] == [
        (logging.WARNING, "duplicate"),
        (logging.DEBUG, "duplicate"),
        (logging.WARNING, "unplanned"),
        (logging.DEBUG, "unplanned"),
    ]
    assert one.tally.status().dropped_planes == {"duplicate": 2, "unplanned": 2}


def test_a_source_that_fails_costs_no_plane_that_came(publisher: Publisher) -> None:
    def script() -> Script:
        yield from frames(KEYS[0])
        yield from frames(KEYS[1], 2)
        raise OSError("the cable is out")

    one = Following(Scripted(script()), publisher, plan(KEYS))
    with pytest.raises(OSError, match="the cable is out"):
        one.intake.work()
    kept = one.kept()
    volumes = [record for record in kept if isinstance(record, Volume)]
    assert [(volume.key, len(volume.integrity.received), volume.closed) for volume in volumes] == [
        (KEYS[0], 4, "complete"),
        (KEYS[1], 2, "run-end"),
    ]
    assert RunEnded("failed", "the cable is out") in kept


def test_a_source_that_hangs_can_be_ended_in_its_place_and_what_it_gives_then_is_not_taken(
    publisher: Publisher,
) -> None:
    hanging, over = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        over.wait(60)

    def script() -> Script:
        yield from frames(KEYS[0], 2)
        yield hang
        yield from frames(KEYS[1])

    one = Following(Scripted(script()), publisher, plan(KEYS))
    thread = threading.Thread(target=one.intake.work)
    thread.start()
    try:
        assert hanging.wait(60)
        assert one.intake.conclude(RunEnded("stalled", "no sign of it"))
        assert one.intake.conclude(RunEnded("failed", "later")), "only the first call counts"
    finally:
        over.set()
        thread.join(60)
    kept = one.kept()
    (volume,) = (record for record in kept if isinstance(record, Volume))
    assert len(volume.integrity.received) == 2
    assert [record for record in kept if isinstance(record, RunEnded)] == [RunEnded("stalled", "no sign of it")]
    assert one.intake.ended.reason == "stalled"


def test_an_assembler_that_is_at_work_for_too_long_is_not_interrupted(publisher: Publisher) -> None:
    asked, may_go_on = threading.Event(), threading.Event()

    def admit(_: int) -> bool:
        asked.set()
        return may_go_on.wait(60)

    assembler = Assembler(AssembleConfig(), admit=admit)
    one = Following(Scripted(movie(*KEYS)), publisher, plan(KEYS), assembler=assembler)
    thread = threading.Thread(target=one.intake.work)
    thread.start()
    try:
        assert asked.wait(60)
        assert not one.intake.conclude(RunEnded("stalled"), wait_s=0.0)
    finally:
        may_go_on.set()
        thread.join(60)
    assert one.intake.ended.reason == "finished"


def test_after_a_halt_no_further_plane_is_taken(publisher: Publisher) -> None:
    def script() -> Script:
        yield from frames(KEYS[0], 3)
        yield one.intake.halt
        yield from frames(KEYS[1])

    one = Following(Scripted(script()), publisher, plan(KEYS))
    one.intake.work()
    (volume,) = one.raw()
    assert (volume.key, len(volume.integrity.received)) == (KEYS[0], 3)
    assert one.intake.ended == RunEnded("aborted", "stopped at once")


def test_a_state_that_changes_reaches_the_store_and_the_status(publisher: Publisher) -> None:
    def script() -> Script:
        for frame in frames(KEYS[0]):
            yield replace(frame, sequence_id=1)
        yield SequenceEnded(1, 4, 3, "a frame was lost")
        yield RunEnded("finished")

    one = Following(Scripted(script()), publisher, plan(KEYS))
    one.intake.work()
    volume, change = (record for record in one.kept() if isinstance(record, Volume | StateChanged))
    assert isinstance(volume, Volume) and volume.state == "provisional"
    assert isinstance(change, StateChanged) and (change.key, change.state) == (KEYS[0], "suspect")


class Keeping(Scripted):
    """A source whose other end keeps every frame until it is stored."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.safe: list[int] = []

    def stored(self, before: int) -> None:
        self.safe.append(before)


def numbered(*keys: VolumeKey) -> Script:
    every = (frame for key in keys for frame in frames(key))
    for arrival, frame in enumerate(every):
        yield replace(frame, arrival=arrival)
    yield RunEnded("finished")


def test_a_source_that_keeps_its_frames_is_seen_off_once_all_are_stored(publisher: Publisher) -> None:
    source = Keeping(numbered(*KEYS))
    one = Following(source, publisher, plan(KEYS))
    thread = threading.Thread(target=one.intake.work)
    thread.start()
    until(lambda: isinstance(one.intake.ended, RunEnded) and one.intake.ended.reason == "finished")
    until(lambda: source.safe)
    assert set(source.safe) == {0}, "nothing is stored yet"
    one.unstored.settle(KEYS[0])
    until(lambda: source.safe[-1] == 4)
    assert thread.is_alive(), "the others are not stored"
    for key in KEYS[1:]:
        one.unstored.settle(key)
    thread.join(60)
    assert source.safe[-1] == 12 and source.safe == sorted(source.safe)


def test_what_is_stored_while_the_source_is_told_is_told_too(publisher: Publisher) -> None:
    class Slow(Keeping):
        def stored(self, before: int) -> None:
            super().stored(before)
            for key in KEYS:
                one.unstored.settle(key)

    source = Slow(numbered(*KEYS))
    one = Following(source, publisher, plan(KEYS))
    one.intake.work()
    assert source.safe[-1] == 12


def test_who_stops_at_once_does_not_wait_for_the_disk(publisher: Publisher) -> None:
    source = Keeping(numbered(*KEYS))
    one = Following(source, publisher, plan(KEYS))
    thread = threading.Thread(target=one.intake.work)
    thread.start()
    until(lambda: source.safe and one.intake.ended.reason == "finished")
    one.intake.halt()
    thread.join(60)
    assert not thread.is_alive() and source.safe[-1] == 0
