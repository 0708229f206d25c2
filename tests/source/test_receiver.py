"""Messages of a tap become events in order, whatever is lost or doubled on the way."""

from __future__ import annotations

import random

import numpy as np
import pytest

from care_live.errors import ProtocolError
from care_live.images import Frame, Plan, RunStarted, VolumeKey
from care_live.source.receiver import ClockOffset, Receiver
from care_live.wire import tap_codec, tap_protocol
from tests.make.tap_messages import frame, started_message


def numbered(number: int, tap: str = "ab" * 16, epoch: int = 0) -> tuple[tap_protocol.FromTap, np.ndarray]:
    one = frame(number)
    return tap_codec.event_message(one, tap_codec.Envelope(tap, number, epoch, 0), token="", checksum=1), np.asarray(
        one.pixels
    )


def test_lost_and_doubled_messages_are_asked_for_and_skipped() -> None:
    receiver = Receiver(run_id="r")
    assert receiver.take(started_message(), None, now_ns=0).answer == tap_protocol.Ack(next_number=1, epoch=0)
    assert receiver.take(*numbered(1), now_ns=0).event is not None
    early = receiver.take(*numbered(3), now_ns=0)
    assert (early.event, early.answer) == (None, tap_protocol.Ack(next_number=2, epoch=0, behind=True))
    again = receiver.take(*numbered(1), now_ns=0)
    assert (again.event, again.answer) == (None, tap_protocol.Ack(next_number=2, epoch=0))
    assert receiver.take(*numbered(2, epoch=1), now_ns=0).event is not None


def test_time_never_goes_back_when_the_clocks_difference_is_known_better() -> None:
    receiver = Receiver(run_id="r")
    receiver.take(started_message(), None, now_ns=9_000_000_000)
    times_ns = []
    for number, received_ns in ((1, 8_000_000_000), (2, 1_000_000), (3, 2_000_000)):
        event = receiver.take(*numbered(number), now_ns=received_ns).event
        assert isinstance(event, Frame)
        times_ns.append(event.host_time_ns)
    assert times_ns == sorted(times_ns)


def test_an_acknowledgement_says_what_is_stored_where_the_tap_keeps_its_frames() -> None:
    receiver = Receiver(run_id="r", until_stored=True)
    stored = [receiver.take(started_message(), None, now_ns=0).answer.stored_before]
    for number in (1, 2, 3):
        stored.append(receiver.take(*numbered(number), now_ns=0).answer.stored_before)
    assert stored == [1, 1, 1, 1]
    for n_stored in (0, 2, 2, 3):
        receiver.store(n_stored)
        stored.append(receiver.acknowledgement().stored_before)
    assert stored[4:] == [1, 3, 3, 4]


def test_a_ping_asks_for_what_is_missing() -> None:
    receiver = Receiver(run_id="r")
    receiver.take(started_message(), None, now_ns=0)
    for number, behind in ((1, False), (2, True)):
        answer = receiver.take(tap_codec.ping(tap_codec.Envelope("ab" * 16, number, 0, 0)), None, now_ns=0).answer
        assert answer == tap_protocol.Ack(next_number=1, epoch=0, behind=behind)


def test_a_new_daemon_takes_over_in_the_middle_of_a_run() -> None:
    receiver = Receiver(run_id="r")
    unknown = receiver.take(*numbered(57), now_ns=0)
    assert unknown.answer == tap_protocol.Ack(next_number=0, epoch=0, behind=True)
    assert isinstance(receiver.take(started_message(number=56), None, now_ns=0).event, RunStarted)
    assert isinstance(receiver.take(*numbered(57, epoch=1), now_ns=0).event, Frame)


def test_another_tap_and_a_wrong_token_are_refused() -> None:
    receiver = Receiver(run_id="r", token="secret")
    assert isinstance(receiver.take(started_message(), None, now_ns=0).answer, tap_protocol.Refuse)
    assert isinstance(receiver.take(started_message(token="secret"), None, now_ns=0).answer, tap_protocol.Ack)
    refused = receiver.take(*numbered(1, tap="cd" * 16), now_ns=0).answer
    assert isinstance(refused, tap_protocol.Refuse)
    assert "begin when that run is over" in refused.reason and 'source.kind = "live"' in refused.reason


def test_a_tap_without_a_plan_gets_the_configs_planes() -> None:
    start = tap_codec.event_message(RunStarted("r", Plan({}, (6, 7))), tap_codec.Envelope("ab" * 16, 0, 0, 0), token="")
    event = Receiver(run_id="r", z_planes=3).take(start, None, now_ns=0).event
    assert isinstance(event, RunStarted)
    assert event.plan.endless
    assert event.plan.planes_of(VolumeKey(9, 1, 2)) == (0, 1, 2)
    unknown = Receiver(run_id="r").take(start, None, now_ns=0).event
    assert isinstance(unknown, RunStarted)
    assert unknown.plan.stacks == {}


def test_a_second_start_in_a_run_is_refused() -> None:
    receiver = Receiver(run_id="r")
    receiver.take(started_message(), None, now_ns=0)
    with pytest.raises(ProtocolError, match="began before"):
        receiver.take(started_message(number=1), None, now_ns=0)


def test_a_strangers_clock_changes_no_time() -> None:
    receiver = Receiver(run_id="r")
    far = tap_codec.Envelope("ee" * 16, 5, 0, 10**18)
    receiver.take(tap_codec.ping(far), None, now_ns=100)
    receiver.take(started_message(), None, now_ns=100)
    receiver.take(tap_codec.ping(far), None, now_ns=200)
    taken = receiver.take(*numbered(1), now_ns=300).event
    assert isinstance(taken, Frame)
    assert taken.host_time_ns == frame(1).host_time_ns + 100


def test_another_machines_clock_is_read_by_its_fastest_message() -> None:
    clock, true_offset, now = ClockOffset(), -5_000_000_000, 10**12
    dice = random.Random(0)
    for _ in range(500):
        now += 10_000_000
        clock.learn(now - true_offset, now + dice.randint(200_000, 30_000_000))
    assert 0 <= clock.offset_ns - true_offset < 2_000_000
