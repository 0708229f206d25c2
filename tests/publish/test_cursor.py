"""How a watcher follows a log: what is new to it, what it asks for next, and what it was too slow for."""

from __future__ import annotations

from msgspec.structs import replace

from care_live.publish.cursor import Every, NewestOnly, PassedOver
from care_live.wire.messages import Gap, Newest, Replay, View, VolumeMessage
from tests.make import messages

ONE, _ = messages.volume()
VIEW = View()


def numbered(seq: int, *, session: str | None = None, nth: int | None = None) -> VolumeMessage:
    return replace(ONE, seq=seq, session=session or ONE.session, nth=nth)


def gap(first: int, last: int) -> Gap:
    return replace(messages.messages()["gap"][0], session=ONE.session, first=first, last=last)


def test_the_newest_is_asked_for_behind_what_came() -> None:
    newest = NewestOnly(VIEW, 2, None, None)
    assert [newest.is_news(numbered(seq)) for seq in (4, 3, 4, 7)] == [True, False, False, True]
    request = newest.request(None)
    assert isinstance(request, Newest)
    assert (request.session, request.after, request.last) == (ONE.session, 7, 7)


def test_another_session_begins_anew() -> None:
    newest = NewestOnly(VIEW, 1, None, None)
    assert newest.is_news(numbered(9))
    assert newest.is_news(numbered(0, session="ffff" + ONE.session[4:]))


def test_every_message_is_taken_once_and_a_gap_is_counted() -> None:
    every = Every(VIEW, 4)
    assert every.request(None) is None
    came = [every.is_news(one) for one in (numbered(0), numbered(2), numbered(0), gap(1, 3), gap(1, 3), numbered(4))]
    assert came == [True, False, False, True, False, True]
    assert every.n_lost == 3
    request = every.request(ONE.session)
    assert isinstance(request, Replay)
    assert request.first == 5


def test_a_start_that_comes_behind_numbers_that_are_forgotten_is_taken_once() -> None:
    every = Every(VIEW, 4)
    start = replace(messages.NOTES["start"], session=ONE.session)
    came = [
        every.is_news(one)
        for one in (
            replace(start, seq=5),  # the answer to hello: what comes before it may still come
            gap(0, 9),
            replace(start, seq=5),
            replace(start, seq=5),  # hello again
            numbered(10),
            replace(start, seq=11),
            replace(start, seq=11),
        )
    ]
    assert came == [False, True, True, False, True, True, False]


def test_volumes_between_are_counted_and_a_late_one_is_not() -> None:
    passed = PassedOver()
    assert [passed.before(numbered(0, nth=nth)) for nth in (3, 4, 8, None, 7, 9)] == [0, 0, 3, 0, 0, 0]
