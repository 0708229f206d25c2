"""Time points that wait in the store: ready once all channels that are read together are asked for and stored."""

from __future__ import annotations

import pytest

from care_live.daemon.backlog import Backlog
from care_live.images import VolumeKey
from care_live.restore.channel_choice import ChannelChoice, ChannelGroup

ALONE = ChannelChoice.first(1)
TOGETHER = ChannelChoice((ChannelGroup(0, (2, 0)),), None)
"""One network reads channel 2, then channel 0."""


def key(t: int, c: int = 0) -> VolumeKey:
    return VolumeKey(t, 0, c)


@pytest.fixture
def pair() -> Backlog:
    return Backlog(TOGETHER)


def test_a_volume_is_ready_once_it_is_asked_for_and_stored() -> None:
    backlog = Backlog(ALONE)
    backlog.ask(key(1))
    assert (backlog.next(), len(backlog)) == ((), 1)
    backlog.stored(key(1))
    backlog.ask(key(1))
    assert (backlog.next(), backlog.next(), len(backlog)) == ((key(1),), (), 0), "asked for twice, given once"


def test_the_one_that_was_complete_first_comes_first() -> None:
    backlog = Backlog(ALONE)
    for t in (5, 2, 9):
        backlog.ask(key(t))
    for t in (2, 9, 5):
        backlog.stored(key(t))
    assert backlog.next(lambda keys: keys != (key(2),)) == (key(9),), "those that may not be taken keep their place"
    assert [backlog.next(), backlog.next()] == [(key(2),), (key(5),)]


def test_channels_that_are_read_together_wait_for_each_other(pair: Backlog) -> None:
    for c in (0, 2):
        pair.stored(key(1, c))
    pair.ask(key(1, 0))
    assert pair.waits_for(key(1, 2))
    assert pair.next() == ()
    pair.ask(key(1, 2))
    assert pair.next() == (key(1, 2), key(1, 0)), "in the network's order"


def test_what_stays_incomplete_is_given_up(pair: Backlog) -> None:
    for one in (key(1, 0), key(2, 0), key(2, 2)):
        pair.ask(one)
    assert pair.give_up_incomplete() == [key(1, 0)]
    for c in (0, 2):
        pair.stored(key(2, c))
    assert (pair.next(), len(pair)) == ((key(2, 2), key(2, 0)), 0)
