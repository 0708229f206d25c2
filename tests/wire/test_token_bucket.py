"""What comes back with time, and never more than the burst."""

from __future__ import annotations

import pytest

from care_live.wire.token_bucket import TokenBucket


def test_tokens_come_back_with_time_up_to_the_burst() -> None:
    bucket = TokenBucket(10_000, 50_000)
    assert bucket.left(0.0) == 50_000
    bucket.spend(50_000)
    assert bucket.left(0.1) == pytest.approx(1000)
    assert bucket.left(1.0) == pytest.approx(10_000)
    assert bucket.left(1000.0) == 50_000


def test_one_is_taken_only_where_there_is_one() -> None:
    bucket = TokenBucket(4, 2)
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(100.2)
    assert bucket.take(100.25), "what was refused cost nothing"
    assert not bucket.take(90.0), "a clock that goes back gives none"


def test_one_who_asks_too_often_waits_and_no_wait_is_endless() -> None:
    bucket = TokenBucket(10.0, 3)
    assert [bucket.owe(100.0, 5.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.owe(100.0, 5.0) == pytest.approx(0.1)
    assert bucket.left(100.2) < 3 and bucket.left(100.4) == 3
    assert bucket.owe(100.4, 5.0) == 0.0
    assert max(bucket.owe(100.4, 5.0) for _ in range(10_000)) == 5.0
