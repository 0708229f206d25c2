"""No failure of publishing reaches the acquisition: large plans, impossible plans, records that can't be said."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from care_live.errors import ProtocolError
from care_live.images import NetworkInUse, Plan, RunStarted, StateChanged, VolumeKey
from care_live.publish import Delivery, Publisher, Subscriber
from care_live.publish.router import Router
from care_live.wire import cl1, plans
from care_live.wire.daemon_status import Status
from care_live.wire.messages import Change, End, Gap, Start
from tests.make import samples
from tests.make.watching import until

Z = tuple(range(50))


def plate(n_positions: int, n_channels: int = 4, n_times: int = 1, name: str = "well {p:05d}") -> Plan:
    stacks = {VolumeKey(t, p, c): Z for t in range(n_times) for p in range(n_positions) for c in range(n_channels)}
    positions = tuple(name.format(p=p) for p in range(n_positions))
    channels = tuple(f"channel {c}" for c in range(n_channels))
    return Plan(stacks, (16, 24), positions=positions, channels=channels)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(samples.config()) as published:
        yield published


def started(subscriber: Subscriber) -> Start:
    start = until(subscriber, Start)
    assert isinstance(start, Start)
    return start


@pytest.mark.parametrize(("n_positions", "n_times"), [(384 * 9, 1), (384 * 9, 60), (20_000, 1)])
def test_the_plan_of_a_plate_arrives_as_it_was(publisher: Publisher, n_positions: int, n_times: int) -> None:
    plan = plate(n_positions, n_times=n_times)
    publisher.start(RunStarted("run-1", plan), samples.NETWORK)
    with Subscriber(publisher.address_pull) as watching:
        said = started(watching)
    assert said.left_out is msgspec.UNSET and not said.plan.stacks
    assert plans.plan_of(said.plan) == plan
    assert publisher.failure == ""


def test_a_plan_that_fits_is_said_as_every_receiver_of_major_1_reads_it(publisher: Publisher) -> None:
    publisher.start(samples.started(1000, n_channels=4), samples.NETWORK)
    with Subscriber(publisher.address_pull) as watching:
        said = started(watching)
    assert len(said.plan.stacks) == 4 and said.plan.groups is msgspec.UNSET


@pytest.mark.parametrize(
    ("plan", "summary", "left_out"),
    [
        (plate(3456, name="{p:0128d}" + "é" * 200), {}, ()),
        (plate(20_000, 1, name="é" * 120 + "{p}"), {}, ("positions",)),
        (plate(4), {"state": "x" * 2**20}, ("summary",)),
        (plate(20_000, 1, name="é" * 120 + "{p}"), {"state": "x" * 2**20}, ("summary", "positions", "channels")),
        (Plan({VolumeKey(t): tuple(range(t % 7, 60, 2 + t % 5)) for t in range(50_000)}, (16, 24)), {}, ()),
        (
            Plan({VolumeKey(0, p): (p % 97, 2000 + p * 3, 90_000 + p * 7) for p in range(60_000)}, (16, 24)),
            {},
            ("stacks",),
        ),
        (plate(1_000_001, 1, name="x"), {}, ("positions", "stacks")),
        (Plan({}, (16, 24), voxel_size_um=(0.0, -1.0, float("nan")), interval_s=-5.0), {}, ()),
        (Plan({}, (16, 24)), {"scope": object()}, ("summary",)),
    ],
    ids=["names", "long-names", "summary", "both", "ragged", "no-order", "million", "no-sizes", "no-json"],
)
def test_what_does_not_fit_is_left_out_and_named(
    publisher: Publisher, plan: Plan, summary: dict[str, object], left_out: tuple[str, ...]
) -> None:
    publisher.start(RunStarted("run-1", plan, summary), samples.NETWORK)
    publisher.publish(samples.restored(0))
    with Subscriber(publisher.address_pull) as watching:
        said = started(watching)
        assert until(watching, Delivery).key == VolumeKey(0)
    named = () if said.left_out is msgspec.UNSET else said.left_out
    assert set(left_out) <= set(named) and bool(named) == bool(left_out)
    assert all(len(name) <= 128 for name in said.plan.positions)
    if "stacks" not in named:
        assert plans.plan_of(said.plan).stacks == plan.stacks


def test_what_can_not_be_said_is_a_gap_and_a_count_and_the_rest_goes_on(publisher: Publisher) -> None:
    publisher.start(samples.started(), samples.NETWORK)
    publisher.change(StateChanged(VolumeKey(-1), "confirmed"))
    publisher.change(StateChanged(VolumeKey(0), "confirmed"))
    publisher.end(samples.ENDED)
    with Subscriber(publisher.address_pull, mode="every") as recorder:
        gap = until(recorder, Gap)
        end = until(recorder, End)
    assert isinstance(gap, Gap) and (gap.first, gap.last, gap.reason) == (1, 1, "unreadable")
    assert isinstance(end, End) and end.seq == 3
    assert "1 messages could not be published" in publisher.failure


def test_a_publisher_whose_thread_died_never_raises_into_the_acquisition(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread dies after it has taken the first volume; the three records after that are counted."""
    published, serve = threading.Event(), Router.serve

    def broken(router: Router, now_s: float) -> None:
        if published.is_set():
            raise MemoryError("no memory")
        serve(router, now_s)

    publisher.start(samples.started(), samples.NETWORK)
    monkeypatch.setattr(Router, "serve", broken)
    publisher.publish(samples.restored(0))
    published.set()
    deadline = time.monotonic() + 60
    while publisher.error is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert publisher.error is not None
    publisher.publish(samples.restored(1))
    publisher.change(StateChanged(VolumeKey(0), "confirmed"))
    publisher.describe_networks(NetworkInUse(samples.MODEL, {}))
    publisher.end(samples.ENDED)
    assert "publishing has failed" in publisher.failure and "3 were not sent" in publisher.failure


def test_what_is_encoded_is_checked_as_what_is_decoded() -> None:
    said = Change(run="r", session="0" * 16, model=None, seq=0, key=(0, 0, 0), state="confirmed", detail="x" * 1001)
    with pytest.raises(ProtocolError, match="detail"):
        cl1.encode(said)


def test_a_status_that_no_message_can_carry_ends_nothing(publisher: Publisher) -> None:
    """Workers on other machines, and networks, have words in it."""
    publisher.start(samples.started(), samples.NETWORK)
    publisher.heartbeat(Status(workers=("x" * 5000,)))
    with Subscriber(publisher.address_pull) as watching:
        waited_for = time.monotonic() + 60
        while watching.heartbeat is None or "cannot be sent" not in watching.heartbeat.status.note:
            watching.next(0.2)
            assert time.monotonic() < waited_for
        publisher.publish(samples.restored(0))
        assert isinstance(until(watching, Delivery), Delivery)
    assert publisher.failure == "" and publisher.error is None
