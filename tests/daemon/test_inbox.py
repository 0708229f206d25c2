"""The store's queue: raw volumes first and never waiting, restored ones within a bound."""

import threading

import pytest

from care_live.daemon.inbox import Inbox, InboxClosed


def test_what_must_be_kept_never_waits_and_always_goes_first():
    inbox: Inbox[int] = Inbox("store", 100)
    assert inbox.put_second(2, 80, wait_s=0)
    for item in (3, 4):
        inbox.put(item)
    assert inbox.waiting == (2, 1)
    assert [inbox.get() for _ in range(3)] == [3, 4, 2]


def test_what_may_be_left_out_waits_for_space_and_is_refused_in_the_end():
    inbox: Inbox[int] = Inbox("store", 100)
    assert inbox.put_second(1, 80, wait_s=0)
    assert not inbox.put_second(2, 80, wait_s=0.05)
    outcome: list[bool] = []
    sender = threading.Thread(target=lambda: outcome.append(inbox.put_second(3, 80, wait_s=30)))
    sender.start()
    assert inbox.get() == 1
    sender.join(60)
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
        with pytest.raises(InboxClosed):
            refused()


def test_closing_frees_a_sender_that_waits():
    inbox: Inbox[int] = Inbox("store", 10)
    inbox.put_second(1, 10, wait_s=0)
    outcome: list[str] = []

    def send() -> None:
        try:
            inbox.put_second(2, 10, wait_s=60)
        except InboxClosed:
            outcome.append("closed")

    sender = threading.Thread(target=send)
    sender.start()
    inbox.close()
    sender.join(60)
    assert outcome == ["closed"]
