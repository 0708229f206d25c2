"""Too many connections at the page's server: who is closed. The clock is a number here."""

from __future__ import annotations

from care_live.viewer.web.quota import Quota


def test_the_one_that_has_waited_longest_makes_way_for_a_new_one() -> None:
    quota: Quota[str] = Quota(max_all=9, max_of_address=2)
    assert quota.enter("first", "here", 0.0) is None
    assert quota.enter("second", "here", 1.0) is None
    quota.waits("first", 2.0)
    assert quota.enter("third", "here", 3.0) == "second"


def test_one_that_is_being_answered_stays_longer() -> None:
    quota: Quota[str] = Quota(max_all=9, max_of_address=2)
    quota.enter("answered", "here", 0.0)
    quota.is_answered("answered", 0.5)
    quota.enter("idle", "here", 1.0)
    assert quota.enter("new", "here", 2.0) == "idle"


def test_of_all_addresses_the_one_with_the_most_connections_gives_way() -> None:
    quota: Quota[str] = Quota(max_all=3, max_of_address=9)
    for second, (one, address) in enumerate([("person", "a"), ("flood 1", "b"), ("flood 2", "b")]):
        assert quota.enter(one, address, float(second)) is None
    assert quota.enter("another person", "c", 3.0) == "flood 1"


def test_what_has_left_counts_no_more() -> None:
    quota: Quota[str] = Quota(max_all=9, max_of_address=1)
    quota.enter("first", "here", 0.0)
    quota.leave("first")
    quota.leave("first")
    assert quota.enter("second", "here", 1.0) is None
    assert len(quota) == 1
