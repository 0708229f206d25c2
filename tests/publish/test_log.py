"""The log in memory: what it keeps and what it drops."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from care_live.images import Plan, RunStarted, StateChanged, VolumeKey
from care_live.live_frame import LIVE_RUN
from care_live.publish import log as log_of_run
from care_live.publish.log import KEPT_STREAMS, Log, nbytes_of
from tests.make import samples


def test_of_a_plate_only_the_last_streams_stay_whatever_the_memory() -> None:
    log = Log(0)
    for p in range(500):
        shown = samples.restored(0)
        log.append(replace(shown, key=VolumeKey(0, p), raw=replace(shown.volume, key=VolumeKey(0, p))))
    assert log.held_bytes == KEPT_STREAMS * nbytes_of(samples.restored(0))
    assert len(log.newest()) == 500 and len(log.newest(after=489)) == 10


def test_the_log_keeps_to_its_memory_and_always_knows_the_newest() -> None:
    one = nbytes_of(samples.restored(0))
    log = Log(3 * one)
    for t in range(10):
        log.append(samples.restored(t))
        assert log.held_bytes <= 3 * one
        log.append(StateChanged(VolumeKey(t), "confirmed"))
    held = [entry.key.t for entry in log.since(0) if entry.record is not None and entry.key]
    assert held == [7, 8, 9]
    assert log.newest() == {(0, 0): 18}
    assert log.state_of(samples.volume(4)) == "confirmed"
    assert log.of(VolumeKey(2)) is not None and log.of(VolumeKey(2)).record is None  # type: ignore[union-attr]


def test_a_volume_that_the_store_has_not_settled_is_not_forgotten() -> None:
    log = Log(0)
    for t in range(4):
        log.append(samples.restored(t), until_settled=t < 2)
    assert [entry.key for entry in log.since(0) if entry.record] == [VolumeKey(0), VolumeKey(1), VolumeKey(3)]
    log.settle(VolumeKey(1))
    assert [entry.key for entry in log.since(0) if entry.record] == [VolumeKey(0), VolumeKey(3)]
    log.settle(VolumeKey(0))
    assert [entry.key for entry in log.since(0) if entry.record] == [VolumeKey(3)]
    assert log.held_bytes == nbytes_of(samples.restored(0))


def test_without_memory_the_newest_of_every_channel_is_kept() -> None:
    log = Log(0)
    for t in range(4):
        for c in (0, 1):
            log.append(samples.restored(t, c))
    held = [entry.key for entry in log.since(0) if entry.record is not None]
    assert held == [VolumeKey(3, 0, 0), VolumeKey(3, 0, 1)]
    assert log.held_bytes == 2 * nbytes_of(samples.restored(0))


def test_another_run_forgets_the_one_before_and_its_first_volumes_are_new() -> None:
    log = Log(2**30)
    log.append(RunStarted("first", Plan({}, (8, 8))))
    for t in range(3):
        log.append(samples.restored(t))
    log.append(RunStarted("second", Plan({}, (8, 8))))
    assert log.of(VolumeKey(2)) is None and log.newest() == {} and log.held_bytes == 0
    entry = log.append(samples.restored(0))
    assert (entry.seq, entry.nth) == (5, 3)
    assert log.newest() == {(0, 0): 5}


def test_of_live_only_the_newest_frame_is_kept() -> None:
    log = Log(2**30)
    log.append(RunStarted(LIVE_RUN, Plan({}, (8, 8))))
    for t in range(4):
        log.append(samples.restored(t))
    assert [entry.key for entry in log.since(1) if entry.record] == [VolumeKey(3)]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let the log keep eight records."""
    monkeypatch.setattr(log_of_run, "MAX_ENTRIES", 8)
    return 8


def test_what_is_too_old_is_forgotten_with_its_key_and_its_state(short: int) -> None:
    log = Log(2**30)
    for t in range(20):
        log.append(samples.restored(t))
        log.append(StateChanged(VolumeKey(t), "suspect"))
    assert (log.first, log.end, len(log.since(0))) == (40 - short, 40, short)
    assert log.at(log.first - 1) is None
    assert log.of(VolumeKey(15)) is None and log.of(VolumeKey(16)) is not None
    assert log.state_of(samples.volume(15)) == "provisional", "the store has it"
    assert log.state_of(samples.volume(16)) == "suspect"
    assert log.held_bytes == short // 2 * nbytes_of(samples.restored(0))


def test_a_stream_whose_newest_is_too_old_gives_late_viewers_nothing(short: int) -> None:
    log = Log(2**30)
    log.append(samples.restored(0, 1))
    for t in range(short):
        log.append(samples.restored(t))
    assert log.newest() == {(0, 0): short}
    log.append(samples.restored(1, 1))
    assert log.newest()[0, 1] == short + 1


def test_a_volume_that_was_forgotten_before_the_store_settled_it_may_be_settled(short: int) -> None:
    log = Log(0)
    log.append(samples.restored(0), until_settled=True)
    for t in range(1, 2 * short):
        log.append(samples.restored(t))
    log.settle(VolumeKey(0))
    assert log.of(VolumeKey(0)) is None
    assert log.held_bytes == nbytes_of(samples.restored(0))
