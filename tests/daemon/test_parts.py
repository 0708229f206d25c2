"""Inbox, stage, ledger, tally and health: the daemon's small parts."""

import math
import threading

import pytest

from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.deadline import Deadlines
from care_live.daemon.inbox import Closed, Inbox
from care_live.daemon.lag import Lag
from care_live.daemon.memory_budget import MemoryBudget
from care_live.daemon.run_metrics import DaemonStatus, Tally
from care_live.daemon.shortfall import shortfalls
from care_live.daemon.stage import Stage
from care_live.errors import StageError, StoreError
from care_live.images import NotRestored, StateChanged, VolumeKey
from tests.make.records import restored
from tests.make.scripted import volume


def test_what_must_be_kept_never_waits_and_always_goes_first():
    inbox: Inbox[int] = Inbox("store", 100)
    assert inbox.put_second(2, 80, wait_s=0)
    for item in (3, 4):
        inbox.put(item)
    assert inbox.waiting == (2, 1)
    assert [inbox.get() for _ in range(3)] == [3, 4, 2]


def test_what_may_be_left_out_waits_for_room_and_is_refused_in_the_end():
    inbox: Inbox[int] = Inbox("store", 100)
    assert inbox.put_second(1, 80, wait_s=0)
    assert not inbox.put_second(2, 80, wait_s=0.05)
    outcome: list[bool] = []
    sender = threading.Thread(target=lambda: outcome.append(inbox.put_second(3, 80, wait_s=30)))
    sender.start()
    assert inbox.get() == 1
    sender.join(5)
    assert (outcome, inbox.get()) == ([True], 3)


def test_an_item_larger_than_the_bound_still_flows():
    inbox: Inbox[int] = Inbox("store", 10)
    assert inbox.put_second(1, 1000, wait_s=0)
    assert inbox.get() == 1


def test_a_closed_inbox_drains_and_then_says_so():
    inbox: Inbox[int] = Inbox("store", 10)
    inbox.put(1)
    inbox.put_second(2, 1, wait_s=0)
    inbox.close()
    assert (inbox.get(), inbox.get()) == (1, 2)
    for refused in (inbox.get, lambda: inbox.put(2), lambda: inbox.put_second(2, 1, wait_s=0)):
        with pytest.raises(Closed):
            refused()


def test_closing_frees_a_sender_that_waits():
    inbox: Inbox[int] = Inbox("store", 10)
    inbox.put_second(1, 10, wait_s=0)
    outcome: list[str] = []

    def send() -> None:
        try:
            inbox.put_second(2, 10, wait_s=60)
        except Closed:
            outcome.append("closed")

    sender = threading.Thread(target=send)
    sender.start()
    inbox.close()
    sender.join(5)
    assert outcome == ["closed"]


def test_a_disk_that_catches_up_in_time_ends_no_run():
    now = [0.0]
    lag = Lag(60.0, clock_s=lambda: now[0])
    lag.refused()
    now[0] = 59.0
    lag.look(n_behind=3)
    lag.look(n_behind=0)
    now[0] = 200.0
    lag.look(n_behind=3)
    lag.refused()
    now[0] = 261.0
    with pytest.raises(StoreError, match=r"too slow for 60 s: 1 raw volumes.*3 records"):
        lag.look(n_behind=3)


def test_a_bulkhead_stops_every_error_counts_it_and_logs_the_first(caplog: pytest.LogCaptureFixture):
    tally = Tally()
    publishing = Bulkhead("publishing", "the run goes on unpublished", tally)
    for error in (OSError("gone"), ValueError("bad"), OSError("gone")):
        with publishing:
            raise error
    status = tally.status()
    assert status.faults == {"publishing": 3}
    assert status.warnings == ("publishing failed: OSError: gone; the run goes on unpublished",)
    assert len([line for line in caplog.records if line.levelname == "ERROR"]) == 1


def test_a_call_that_hangs_is_waited_for_no_longer_than_its_deadline():
    deadlines, free = Deadlines(), threading.Event()
    assert deadlines.within("quick", lambda: 7, 5.0) == 7
    with pytest.raises(ZeroDivisionError):
        deadlines.within("broken", lambda: 1 // 0, 5.0)
    with pytest.raises(StageError, match="driver did not return"):
        deadlines.within("driver", free.wait, 0.05)
    with pytest.raises(StageError, match=r"stage did not return within \d+\.\d s: it hangs"):
        deadlines.within("stage", free.wait, math.inf, given_up=lambda: True)
    assert deadlines.hung == ("driver", "stage")
    free.set()
    while deadlines.hung:
        pass


def test_a_stage_keeps_its_error_and_tells_its_owner():
    told: list[BaseException] = []

    def fail() -> None:
        raise ValueError("broken")

    stage = Stage("broken", fail, told.append)
    stage.start()
    stage.join(5)
    assert isinstance(stage.error, ValueError)
    assert told == [stage.error]


def test_a_stage_that_misses_its_deadline_is_an_error():
    free = threading.Event()
    stage = Stage("slow", free.wait, lambda error: None)
    stage.start()
    with pytest.raises(StageError, match="slow did not end within"):
        stage.join(0.05)
    free.set()
    stage.join(5)


def test_memory_comes_back_when_the_last_holder_lets_go():
    ledger = MemoryBudget(100)
    key = VolumeKey(0)
    assert ledger.admit(80)
    assert not ledger.admit(80)
    ledger.hold(key)
    ledger.hold(key)
    ledger.release(key, 80)
    assert not ledger.admit(80)
    ledger.release(key, 80)
    assert ledger.admit(80)


def test_lost_skipped_and_suspect_are_counted_apart():
    tally = Tally(clock_ns=lambda: 50_000_000)
    tally.volume(volume(0))
    tally.not_restored(NotRestored(VolumeKey(0), "skipped", "newer"))
    tally.not_restored(NotRestored(VolumeKey(1), "failed", "killed"))
    for _ in range(2):
        tally.state(StateChanged(VolumeKey(0), "suspect"))
    tally.restored(restored(volume(2, last_plane_ns=20_000_000)))
    tally.restored(restored(volume(3), flags=frozenset({"late"})))
    status = tally.status()
    assert (status.volumes, status.skipped, status.failed, status.suspect) == (1, 1, 1, 1)
    assert (status.restored, status.restored_late) == (2, 1)
    assert status.age_ms_p50 == 30.0  # the late one has no age worth showing


def test_flicker_is_of_the_last_two_volumes_of_any_place() -> None:
    tally = Tally()
    for of, low, high in (
        (volume(0), 0, 100),
        (volume(0, p=1), 50, 150),
        (volume(1), 0, 100),
        (volume(1, p=1), 50, 150),
    ):
        tally.restored(restored(of, low=low, high=high))
    assert tally.status().flicker == 0.0
    tally.restored(restored(volume(2, p=1), low=50, high=250))
    assert tally.status().flicker == pytest.approx(0.5)
    tally.restored(restored(volume(3, p=1), low=50, high=250))
    assert tally.status().flicker == 0.0


@pytest.mark.parametrize(
    ("what", "stopped", "words"),
    [
        ({}, False, ""),
        ({"lost_planes": 8, "dropped_planes": {"unplanned": 8}}, False, "8 of 8 planned planes never came; 8 planes"),
        ({"lost_planes": 3}, True, ""),
        ({"dropped_planes": {"duplicate": 2}}, False, "2 planes came and have no place (2 duplicate)"),
        ({"dropped_planes": {"wrong-shape": 2}}, True, "2 wrong-shape"),
        ({"refused_planes": 4}, True, "4 planes found no memory"),
        ({"shed": 1}, False, ""),
        ({"unrestored": 1}, False, "1 volumes could not be restored"),
        ({"warnings": ("publishing failed: gone",)}, True, "publishing failed"),
    ],
)
def test_what_a_run_lacks(what: dict, stopped: bool, words: str):
    status = DaemonStatus(planned_planes=8, **what)
    assert words in "; ".join(shortfalls(status, stopped=stopped))
    assert bool(words) == bool(shortfalls(status, stopped=stopped))
