"""PUB: topics, levels that are made only when somebody listens, slabs, and subscribers that don't read."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from care_live.images import VolumeKey, read_only
from care_live.publish import Publisher, describe
from care_live.publish.broadcast import CHANNELS
from care_live.publish.router import Router
from care_live.wire import arrays, cl1, keys
from care_live.wire.daemon_status import Status
from care_live.wire.messages import Heartbeat, Message, Slab, VolumeMessage
from care_live.wire.sockets import Socket, Sockets, new_pair
from tests.make import records, samples
from tests.make.waiting import until


@pytest.fixture
def hub() -> Iterator[Sockets]:
    with Sockets() as sockets:
        yield sockets


def listen(hub: Sockets, publisher: Publisher, *topics: bytes) -> Socket:
    """Subscribe, and wait until the publisher knows."""
    link = hub.connect("sub", publisher.address)
    for topic in (*topics, b"cl1/note"):
        link.subscribe(topic)
    assert heard(hub, link, Heartbeat) is not None, "subscriptions are taken in their order"
    deadline = time.monotonic() + 90
    while not all(_is_known(publisher, topic) for topic in topics) and time.monotonic() < deadline:
        time.sleep(0.01)
    return link


def _is_known(publisher: Publisher, topic: bytes) -> bool:
    asked = {channel for channel in CHANNELS if channel.is_asked_for(topic)}
    return asked <= publisher.subscribed


def heard(hub: Sockets, link: Socket, kind: type[Message], timeout_s: float = 60.0) -> tuple[bytes, Any, Any] | None:
    deadline = time.monotonic() + timeout_s
    while (left := deadline - time.monotonic()) > 0:
        hub.poll(left)
        while (received := link.receive()) is not None:
            message, codes = cl1.decode(received.parts[1:])
            if isinstance(message, kind):
                return bytes(received.parts[0]), message, codes
    return None


def test_topics_say_product_level_coding_and_run(publisher: Publisher, hub: Sockets) -> None:
    link = listen(hub, publisher, b"cl1/restored/L1/quantised/", b"cl1/raw/L0/plain/")
    sent = samples.restored(0)
    publisher.publish(sent)
    got = {}
    for _ in range(2):
        message = heard(hub, link, VolumeMessage)
        assert message is not None
        got[message[0]] = message[1:]
    small, raw = got[b"cl1/restored/L1/quantised/run-1"], got[b"cl1/raw/L0/plain/run-1"]
    assert [header.product for header in small[0].arrays] == ["mean", "laplace_scale", "disagreement"]
    assert small[0].arrays[0].shape == (4, 8, 12) and small[0].arrays[0].coding == "affine"
    np.testing.assert_array_equal(raw[1][0], sent.volume.pixels)
    assert small[0].seq == raw[0].seq == 1


def test_a_later_map_has_a_topic_of_its_own_that_must_be_spelt(publisher: Publisher, hub: Sockets) -> None:
    link = listen(hub, publisher, b"cl1/evidence/", b"cl1/restored/")
    sent = samples.restored(0)
    residual = read_only(np.linspace(-9, 9, sent.mean.size, dtype=np.float32).reshape(sent.mean.shape))
    publisher.publish(replace(sent, maps={**sent.maps, "evidence": residual}))
    got = {}
    for _ in range(2):
        message = heard(hub, link, VolumeMessage)
        assert message is not None
        got[message[0]] = message[1:]
    assert len(got[b"cl1/restored/L0/plain/run-1"][0].arrays) == 3
    np.testing.assert_array_equal(got[b"cl1/evidence/L0/plain/run-1"][1][0], residual)
    assert not any(channel.is_asked_for(b"cl1/") for channel in CHANNELS if channel.product == "evidence")


def test_the_shortest_topic_is_the_plain_volume_and_the_notes(publisher: Publisher, hub: Sockets) -> None:
    link = listen(hub, publisher, b"cl1/")
    publisher.publish(samples.restored(0))
    heard_of = [heard(hub, link, VolumeMessage) for _ in range(2)]
    topics = [message[0] for message in heard_of if message is not None]
    assert heard(hub, link, VolumeMessage, 0.5) is None
    assert topics == [b"cl1/restored/L0/plain/run-1", b"cl1/raw/L0/plain/run-1"]
    assert heard(hub, link, Heartbeat) is not None


def test_what_has_no_subscriber_is_not_computed(
    publisher: Publisher, hub: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    original = describe.downsample

    def counted(product: arrays.Product, volume: Any, level: int) -> Any:
        made.append(level)
        return original(product, volume, level)

    monkeypatch.setattr(describe, "downsample", counted)
    publisher.publish(samples.restored(0))
    assert publisher.drain(60)
    link = listen(hub, publisher, b"cl1/restored/L2/plain/")
    assert made == []
    publisher.publish(samples.restored(1))
    assert heard(hub, link, VolumeMessage) is not None
    assert made == [2, 2, 2]


def test_slabs_come_while_the_volume_is_being_restored(publisher: Publisher, hub: Sockets) -> None:
    link = listen(hub, publisher, b"cl1/slab/")
    planes = read_only(np.full((2, 16, 24), 7, np.float32))
    publisher.broadcast.slab(records.planes(VolumeKey(3), {"mean": planes}, slice(4, 6), 32))
    message = heard(hub, link, Slab)
    assert message is not None
    assert (message[1].key, message[1].z_first, message[1].n_planes, message[1].state) == (
        (3, 0, 0),
        4,
        32,
        "provisional",
    )
    assert message[1].limits == "not for intensity quantification"
    assert message[1].arrays[0].origin_px == (4, 0, 0)
    np.testing.assert_array_equal(message[2][0], planes)


def test_slabs_are_encoded_while_the_thread_that_sends_is_busy(
    publisher: Publisher, hub: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait in one queue only; what the encoding thread has no time for is counted in the next message."""
    link = listen(hub, publisher, b"cl1/slab/")
    held, go_on, made = threading.Event(), threading.Event(), threading.Semaphore(0)
    serve, pictures = Router.serve, describe.pictures

    def waiting(router: Router, now_s: float) -> None:
        held.set()
        assert go_on.wait(200)
        serve(router, now_s)

    def counted(record: Any, view: Any) -> Any:
        made.release()
        return pictures(record, view)

    monkeypatch.setattr(Router, "serve", waiting)
    monkeypatch.setattr(describe, "pictures", counted)
    assert held.wait(90)
    try:
        planes = read_only(np.full((2, 16, 24), 7, np.float32))
        publisher.broadcast.slab(records.planes(VolumeKey(3), {"mean": planes}, slice(4, 6), 32))
        assert made.acquire(timeout=90), "it waits for the thread that sends"
    finally:
        go_on.set()
    message = heard(hub, link, Slab)
    assert message is not None and (message[1].count, message[1].not_made) == (0, 0)


@pytest.mark.parametrize("how", ["closed", "failed"])
def test_slabs_are_not_kept_where_none_can_be_sent(
    hub: Sockets, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    listen(hub, publisher, b"cl1/slab/")
    if how == "failed":
        monkeypatch.setattr(Router, "serve", lambda *_: 1 / 0)
        until(lambda: publisher.error is not None, 90)
    else:
        publisher.broadcast.close()
    planes = read_only(np.full((2, 16, 24), 7, np.float32))
    slab = records.planes(VolumeKey(3), {"mean": planes}, slice(0, 2), 2)
    n_holders = sys.getrefcount(slab)
    publisher.broadcast.slab(slab)
    assert sys.getrefcount(slab) == n_holders


def test_a_subscriber_that_does_not_read_delays_no_other(publisher: Publisher, hub: Sockets) -> None:
    frozen = listen(hub, publisher, b"cl1/")
    with Sockets() as other:
        link = listen(other, publisher, b"cl1/restored/L0/plain/")
        big = (8, 256, 256)
        for t in range(12):
            publisher.publish(samples.restored(t, shape=big))
            message = heard(other, link, VolumeMessage)
            assert message is not None and message[1].key[0] == t
    assert frozen.receive() is not None


def test_each_product_is_counted_and_what_there_was_no_time_for_is_said(
    publisher: Publisher, hub: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that is busy encoding: later volumes replace those that wait, and the next one says how many."""
    link = listen(hub, publisher, b"cl1/raw/L1/plain/", b"cl1/raw/L0/plain/")
    busy, go_on = threading.Event(), threading.Event()
    original = describe.downsample

    def slow(product: arrays.Product, volume: Any, level: int) -> Any:
        busy.set()
        assert go_on.wait(200)
        return original(product, volume, level)

    monkeypatch.setattr(describe, "downsample", slow)
    publisher.publish(samples.restored(0))
    assert busy.wait(60)
    for t in range(1, 80):
        publisher.publish(samples.restored(t))
    publisher.heartbeat(Status(note="all are published"))
    while (note := heard(hub, link, Heartbeat)) is None or note[1].status.note == "":
        pass
    go_on.set()
    seen: dict[bytes, list[VolumeMessage]] = {}
    later = iter(range(80, 120))
    while sum(len(one) for one in seen.values()) < 2 or max(v.key[0] for one in seen.values() for v in one) < 79:
        message = heard(hub, link, VolumeMessage, 1.0)
        if message is None:  # the burst was too much for this subscriber: only a later volume says what it missed
            publisher.publish(samples.restored(next(later)))
        else:
            seen.setdefault(message[0], []).append(message[1])
    for came in seen.values():
        assert [one.count for one in came] == sorted({one.count for one in came})
        for before, after in itertools.pairwise(came):
            missing, not_made = after.count - before.count - 1, after.not_made - before.not_made
            assert 0 <= not_made <= missing, "what was made and is missing, this subscriber was too slow for"
    assert any(came[-1].not_made >= 79 - 64 for came in seen.values())


def test_a_connection_with_ever_more_topics_is_cut_and_the_others_stay(publisher: Publisher, hub: Sockets) -> None:
    link = listen(hub, publisher, b"cl1/restored/L0/plain/")
    with Sockets() as other:
        junk = other.connect("sub", publisher.address)
        for i in range(4200):
            junk.subscribe(b"cl1/raw/L0/plain/%d" % i)
        late = listen(hub, publisher, b"cl1/restored/L3/plain/")
        publisher.publish(samples.restored(0))
        for one in (link, late):
            message = heard(hub, one, VolumeMessage)
            assert message is not None and message[1].key[0] == 0


@pytest.mark.slow
def test_a_revoked_subscriber_hears_no_more_and_the_others_go_on(tmp_path: Path) -> None:
    server, allowed = samples.write_keys(tmp_path)
    own = keys.read_pair(server)
    pairs = {name: new_pair() for name in ("mia", "rex")}
    for name, pair in pairs.items():
        keys.allow(allowed, pair.public, name, "viewer")
    with (
        Publisher(samples.config(server_key_file=server, authorized_keys_file=allowed)) as publisher,
        Sockets(client=keys.ClientKeys(pairs["mia"], own.public)) as mia,
        Sockets(client=keys.ClientKeys(pairs["rex"], own.public)) as rex,
    ):
        publisher.start(samples.started(), samples.NETWORK)
        there = listen(mia, publisher, b"cl1/restored/L0/plain/")
        gone = listen(rex, publisher, b"cl1/restored/L0/", b"cl1/note")
        publisher.publish(samples.restored(0))
        assert heard(mia, there, VolumeMessage) is not None and heard(rex, gone, VolumeMessage) is not None
        keys.revoke(allowed, "rex")
        deadline, times, n_alone = time.monotonic() + 120, itertools.count(1), 0
        while n_alone < 2:  # the publisher looks at its list now and then, and those who are allowed come back
            assert time.monotonic() < deadline, f"{n_alone} volumes came to the one who is allowed alone"
            publisher.publish(samples.restored(next(times)))
            if heard(mia, there, VolumeMessage, 0.3) is not None:
                n_alone = n_alone + 1 if heard(rex, gone, VolumeMessage, 1.0) is None else 0
