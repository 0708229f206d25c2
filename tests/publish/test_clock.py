"""Ages hold when the time of day is set by an hour."""

from __future__ import annotations

import threading
import time

import msgspec
import pytest

from care_live.publish import Subscriber
from care_live.publish.clock import Clock, SessionClock
from care_live.publish.delivery import Delivery
from care_live.publish.publisher import Publisher
from care_live.wire.messages import VolumeMessage
from tests.make.messages import messages
from tests.make.samples import NETWORK, config, restored, started

_HOUR_NS = 3600 * 10**9


def test_a_session_clock_does_not_follow_a_machine_whose_time_is_set() -> None:
    wall, monotonic = [5 * 10**18], [7 * 10**9]
    clock = SessionClock(lambda: wall[0], lambda: monotonic[0])
    assert clock.now_us() == 5 * 10**15
    wall[0] += _HOUR_NS
    monotonic[0] += 2_000
    assert clock.now_us() == 5 * 10**15 + 2


@pytest.mark.parametrize("jump_ns", [_HOUR_NS, -_HOUR_NS], ids=["forwards", "backwards"])
@pytest.mark.parametrize("whose", ["the daemon's", "the watcher's"])
def test_ages_and_numbers_go_on_when_a_clock_is_set_by_an_hour(
    monkeypatch: pytest.MonkeyPatch, whose: str, jump_ns: int
) -> None:
    real, offset_ns = time.time_ns, [0]

    def wall_ns() -> int:
        of_the_daemon = threading.current_thread().name == "publish"
        return real() + (offset_ns[0] if of_the_daemon == (whose == "the daemon's") else 0)

    monkeypatch.setattr(time, "time_ns", wall_ns)
    seen: list[Delivery] = []
    with Publisher(config()) as publisher, Subscriber(publisher.address_pull, mode="every") as subscriber:
        publisher.start(started(), NETWORK)
        while subscriber.heartbeat is None:
            subscriber.next(5)
        volumes = subscriber.volumes(5)
        for t in range(4):
            offset_ns[0] = jump_ns * (t > 1)
            publisher.publish(restored(t))
            seen.append(next(volumes))
    assert [volume.key.t for volume in seen] == [0, 1, 2, 3]
    assert all(0 <= volume.age_s < 600 for volume in seen), [volume.age_s for volume in seen]
    numbers = [volume.seq for volume in seen if volume.seq is not None]
    assert len(numbers) == 4
    assert numbers == sorted(set(numbers))


def test_the_clock_of_an_older_session_says_nothing_of_a_newer_one() -> None:
    """A daemon whose machine's time was set an hour back, and that was started again."""
    now = [1_000_000]
    clock = Clock(lambda: now[0])
    clock.note(500_000_000_000, "a" * 16)
    clock.note(500_000_000_000 - 3_600_000_000, "b" * 16)
    assert clock.age_s(said("b" * 16, published_us=500_000_000_000 - 3_600_000_000)) == pytest.approx(0.25)
    assert clock.age_s(said("a" * 16, published_us=500_000_000_000)) == pytest.approx(0.25)
    clock.note(600_000_000_000, "c" * 16)
    now[0] += 2_000_000
    assert clock.age_s(said("c" * 16, published_us=600_000_000_000)) == pytest.approx(2.25)


def said(session: str, published_us: int) -> VolumeMessage:
    message = messages()["volume"][0]
    assert isinstance(message, VolumeMessage)
    return msgspec.structs.replace(message, session=session, published_us=published_us, age_us=250_000)
