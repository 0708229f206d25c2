"""Waiting until all is sent: as long as requests come, and no longer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from care_live.publish.drain import Drain


def test_what_is_sent_already_is_not_waited_for() -> None:
    drain = Drain()
    drain.note(5, 0)
    assert drain.wait(lambda: 5, 0.0)


def test_without_a_request_within_the_time_it_gives_up() -> None:
    assert not Drain().wait(lambda: 1, 0.01)


def test_it_returns_when_the_last_one_is_sent_or_sending_is_over() -> None:
    for end in (lambda drain: drain.note(7, 0), Drain.give_up):
        drain = Drain()
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(drain.wait, lambda: 7, 60.0)
            drain.note(3, 1)
            end(drain)
            assert waiting.result(60)
