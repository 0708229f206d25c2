"""Bookkeeping: who is due what, decided without sockets or clocks."""

from __future__ import annotations

from hypothesis import given as drawn
from hypothesis import strategies as st

from care_live.images import StateChanged, VolumeKey
from care_live.publish.log import MAX_ENTRIES, Log
from care_live.publish.waiting_line import LAPSE_S, MAX_IN_LINE
from care_live.publish.watchers import (
    FOLLOWS_S,
    GIVE_WAY_S,
    MAX_FETCHES,
    MAX_LOCAL,
    MAX_OF_ONE,
    MAX_WATCHERS,
    QUIET_S,
    Watcher,
    Watchers,
)
from care_live.wire.messages import Fetch, Newest, Replay
from tests.make import samples

SESSION = "0" * 16


def take(watcher: Watcher, newest: dict[tuple[int, int], int]) -> list[int]:
    """Send all that is due."""
    sent = []
    while (due := watcher.due(newest)) is not None:
        stream = next(stream for stream, seq in newest.items() if seq == due[0])
        watcher.was_sent(stream, due[0])
        sent.append(due[0])
    return sent


def test_no_more_than_the_credit_is_on_its_way_however_often_it_is_asked() -> None:
    watcher, seq = Watcher(b"x", 0.0), 0
    for _ in range(10):
        watcher.asks_newest(Newest(session=SESSION, credit=2), SESSION)
        seq += 1
        take(watcher, {(0, 0): seq})
    assert list(watcher.on_their_way) == [1, 2]
    watcher.asks_newest(Newest(session=SESSION, credit=2, last=1), SESSION)
    assert take(watcher, {(0, 0): seq}) == [10]
    watcher.asks_newest(Newest(session=SESSION, credit=2, last=10), SESSION)
    assert not watcher.on_their_way and take(watcher, {(0, 0): seq}) == []


def test_a_volume_that_was_fetched_in_between_acknowledges_what_came_before_it() -> None:
    watcher = Watcher(b"x", 0.0)
    watcher.asks_newest(Newest(session=SESSION), SESSION)
    assert take(watcher, {(0, 0): 6}) == [6]
    watcher.asks_newest(Newest(session=SESSION, last=7), SESSION)
    assert take(watcher, {(0, 0): 8}) == [8]


def test_the_end_does_not_wait_for_a_recorder_that_is_frozen_with_volumes_on_their_way() -> None:
    recorder = Watcher(b"x", 0.0)
    recorder.asks_replay(Replay(session=SESSION, first=0, credit=4))
    recorder.asks_fetch(Fetch(key=(0, 0, 0)))
    recorder.replay_next = 4
    assert not recorder.has_all(9, QUIET_S)
    assert recorder.has_all(9, QUIET_S + 0.1)


def repeats(recorder: Watcher, first: int, now_s: float) -> None:
    recorder.received_s = now_s
    recorder.asks_replay(Replay(session=SESSION, first=first, credit=4))


def test_the_end_waits_no_longer_for_a_recorder_that_requests_and_never_acknowledges() -> None:
    recorder = Watcher(b"x", 0.0)
    repeats(recorder, 0, 0.0)
    recorder.was_replayed(4, 60.0)
    for now_s in (61.0, 60.0 + QUIET_S, 60.1 + QUIET_S):
        repeats(recorder, 0, now_s)
        assert recorder.has_all(9, now_s) == (now_s > 60.0 + QUIET_S)
    repeats(recorder, 2, 70.0)
    assert not recorder.has_all(9, 70.0), "now it gets on"


def test_the_end_gives_a_slow_link_the_time_that_it_has_needed_before() -> None:
    recorder = Watcher(b"x", 0.0)
    repeats(recorder, 0, 0.0)
    recorder.was_replayed(4, 1.0)
    repeats(recorder, 4, 9.0)
    recorder.was_replayed(8, 10.0)
    for now_s in (10.0 + QUIET_S + 1, 25.0, 26.5):
        repeats(recorder, 4, now_s)
        assert recorder.has_all(9, now_s) == (now_s > 26.0)


def test_the_end_waits_for_what_the_daemon_itself_still_owes_a_recorder() -> None:
    recorder = Watcher(b"x", 0.0)
    repeats(recorder, 0, 0.0)
    recorder.was_replayed(2, 0.0)
    repeats(recorder, 0, 100.0)
    assert not recorder.has_all(9, 100.0), "its credit is not used up: the store is slow"


def test_the_end_waits_for_the_next_requests_of_a_recorder_that_lacks_many_volumes() -> None:
    recorder = Watcher(b"x", 10.0)
    recorder.asks_replay(Replay(session=SESSION, first=5))
    recorder.replay_next = 5
    assert recorder.has_all(5, 10.0)
    recorder.asks_fetch(Fetch(key=(0, 0, 0)))
    assert not recorder.has_all(5, 10.0)
    recorder.fetches.popleft()
    recorder.fetched_s = 10.0
    assert not recorder.has_all(5, 10.0 + FOLLOWS_S / 2)
    assert recorder.has_all(5, 10.0 + FOLLOWS_S)


def test_on_a_new_link_nothing_older_than_what_was_seen_is_sent() -> None:
    watcher = Watcher(b"x", 0.0)
    watcher.asks_newest(Newest(session=SESSION, after=10), SESSION)
    assert take(watcher, {(0, 0): 10}) == []
    assert take(watcher, {(0, 0): 11}) == [11]
    other = Watcher(b"y", 0.0)
    other.asks_newest(Newest(session="f" * 16, after=10), SESSION)
    assert take(other, {(0, 0): 3}) == [3], "numbers of another session mean nothing"


@drawn(st.lists(st.sampled_from([(0, 0), (0, 1), (1, 0)]), min_size=30, max_size=200))
def test_no_stream_starves(order: list[tuple[int, int]]) -> None:
    """Whatever comes, a slow watcher is never sent a stream twice while another one waits with news."""
    watcher, newest = Watcher(b"x", 0.0), {}
    waiting: dict[tuple[int, int], int] = {}
    for seq, stream in enumerate(order):
        newest[stream] = seq
        waiting.setdefault(stream, 0)
        watcher.asks_newest(Newest(session=SESSION, last=seq), SESSION)
        due = watcher.due(newest)
        assert due is not None
        sent = next(stream for stream, at in newest.items() if at == due[0])
        watcher.was_sent(sent, due[0])
        waiting.pop(sent, None)
        waiting = {other: turns + 1 for other, turns in waiting.items()}
        assert max(waiting.values(), default=0) <= 3


def test_a_slow_link_gets_one_heartbeat_behind_its_volumes() -> None:
    watcher = Watcher(b"x", 0.0)
    assert watcher.takes_heartbeat() and watcher.takes_heartbeat()
    watcher.asks_newest(Newest(session=SESSION), SESSION)
    watcher.was_sent((0, 0), 1)
    assert [watcher.takes_heartbeat() for _ in range(3)] == [True, False, False]
    watcher.asks_newest(Newest(session=SESSION, last=1), SESSION)
    assert watcher.takes_heartbeat()


def test_replay_goes_on_where_it_was_on_the_same_link() -> None:
    watcher = Watcher(b"x", 0.0)
    watcher.asks_replay(Replay(session=SESSION, first=3, credit=4))
    while watcher.may_replay:
        watcher.replay_next += 1
    assert watcher.replay_next == 7
    watcher.asks_replay(Replay(session=SESSION, first=3, credit=4))
    assert not watcher.may_replay, "asked again, but nothing has come: nothing is sent twice"
    watcher.asks_replay(Replay(session=SESSION, first=5, credit=4))
    while watcher.may_replay:
        watcher.replay_next += 1
    assert watcher.replay_next == 9


def test_a_key_has_a_number_of_places_and_the_one_that_takes_nothing_gives_way() -> None:
    watchers = Watchers()
    for i in range(MAX_OF_ONE):
        assert watchers.watcher_of(b"%d" % i, 0.0, key="mia") is not None
    assert watchers.watcher_of(b"one more", 1.0, key="mia") is None
    assert watchers.watcher_of(b"another", 1.0, key="rex") is not None
    for i in range(MAX_OF_ONE):
        watcher = watchers.watcher_of(b"%d" % i, GIVE_WAY_S + 1, key="mia")
        assert watcher is not None
        if i != 3:
            watcher.asks_replay(Replay(session=SESSION, first=1))
    assert watchers.watcher_of(b"one more", GIVE_WAY_S + 2, key="mia") is not None
    assert [watcher.peer for watcher in watchers.displaced] == [b"3"]


def test_when_all_places_are_taken_the_key_that_has_most_gives_way() -> None:
    watchers = Watchers()
    for n_key, key in enumerate(("mia", "rex", "eva", "")):
        for i in range(MAX_OF_ONE):
            assert watchers.watcher_of(b"%d.%d" % (n_key, i), 0.0, key=key) is not None
    assert len(watchers) == MAX_WATCHERS
    assert watchers.watcher_of(b"late", 0.5, key="ida") is not None
    assert len(watchers) == MAX_WATCHERS and len(watchers.displaced) == 1


def test_the_longest_waiting_gets_the_next_place_among_thousands_that_come_again() -> None:
    """A program that connects anew a hundred times a second, and asks oftener, gets no turn before it."""
    watchers, came_s, now_s = Watchers(), dict[bytes, float](), 0.0
    place_s: float | None = None
    for n in range(2000):  # 20 s
        now_s = n / 100
        came_s[b"new %d" % n] = now_s
        for peer in [peer for peer, since_s in came_s.items() if now_s - since_s > 0.1]:
            del came_s[peer]
        if n % 150 == 149 and place_s is None and watchers.watcher_of(b"late", now_s) is not None:
            place_s = now_s
        for peer in came_s:
            watchers.watcher_of(peer, now_s)
    assert place_s is not None and place_s <= GIVE_WAY_S + LAPSE_S + 1.5
    assert len(watchers) == MAX_LOCAL


def test_who_waits_and_asks_no_more_holds_up_no_other() -> None:
    watchers = Watchers()
    for i in range(MAX_LOCAL):
        watchers.watcher_of(b"%d" % i, 0.0)
    for i in range(2 * MAX_IN_LINE):
        assert watchers.watcher_of(b"gone %d" % i, 1.0) is None
    assert watchers.watcher_of(b"late", 2.0) is None, "all places are taken"
    assert watchers.watcher_of(b"late", GIVE_WAY_S + 1) is not None
    assert watchers.watcher_of(b"second", GIVE_WAY_S + 1) is not None


def test_fetches_beyond_the_limit_are_refused_and_the_same_again_is_one() -> None:
    watcher = Watcher(b"x", 0.0)
    for t in range(MAX_FETCHES):
        assert watcher.asks_fetch(Fetch(key=(t, 0, 0)))
        assert watcher.asks_fetch(Fetch(key=(t, 0, 0)))
    assert len(watcher.fetches) == MAX_FETCHES
    assert not watcher.asks_fetch(Fetch(key=(99, 0, 0)))


def test_a_stale_stream_holds_up_no_other_when_its_entry_has_gone() -> None:
    log = Log(2**20)
    log.append(samples.restored(0, 1))
    for _ in range(MAX_ENTRIES):
        log.append(StateChanged(VolumeKey(0), "confirmed"))
    newest = log.append(samples.restored(1, 0))
    assert log.newest() == {(0, 0): newest.seq}
    assert log.newest(newest.seq) == {}
