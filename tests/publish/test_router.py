"""Single requests and their answers, over real sockets: ids, levels, places of slabs, revocation, the store's bits."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from care_live.images import Restored, VolumeKey
from care_live.publish import Publisher, Subscriber
from care_live.publish import log as log_of_run
from care_live.publish.delivery import Delivery, FromDaemon
from care_live.wire import cl1, keys
from care_live.wire.messages import End, Fetch, Gap, Heartbeat, Newest, Refused, Start, View, VolumeMessage
from care_live.wire.sockets import Sockets, new_pair
from tests.make import samples
from tests.make.watching import answer


def test_an_id_comes_back_with_each_answer_and_tells_two_views_apart(publisher: Publisher) -> None:
    publisher.publish(samples.restored(0))
    with Sockets() as hub:
        link = hub.connect("dealer", publisher.address_pull, hwm=64)
        for number, level in ((7, 2), (9, 0)):
            link.send(cl1.encode_request(Fetch(key=(0, 0, 0), view=View(level=level), id=number)))
        link.send(cl1.encode_request(Fetch(key=(5, 1, 0), id=11)))
        came = [answer(hub, link, VolumeMessage, Gap) for _ in range(3)]
    assert [one.id for one in came] == [7, 9, 11]  # type: ignore[union-attr]
    assert [one.arrays[0].level for one in came[:2]] == [2, 0]  # type: ignore[union-attr]
    assert isinstance(came[2], Gap)


@pytest.mark.parametrize(("request_id", "reason"), [(msgspec.UNSET, "forgotten"), (1000, "busy")])
def test_no_fetch_is_left_without_an_answer(request_id: Any, reason: str) -> None:
    held, asked = threading.Event(), 30

    def slow(key: VolumeKey) -> Restored | None:
        held.wait(200)
        return samples.restored(key.t)

    with Publisher(samples.config(), replay_from_store=slow) as publisher, Sockets() as hub:
        publisher.start(samples.started(), samples.NETWORK)
        link = hub.connect("dealer", publisher.address_pull, hwm=64)
        for t in range(asked):
            number = request_id if request_id is msgspec.UNSET else request_id + t
            link.send(cl1.encode_request(Fetch(key=(t, 0, 0), id=number)))
        refused = [answer(hub, link, Gap)]
        held.set()
        rest = [answer(hub, link, VolumeMessage, Gap) for _ in range(asked - 1)]
    assert None not in refused + rest
    gaps = [one for one in refused + rest if isinstance(one, Gap)]
    assert {gap.reason for gap in gaps} == {reason} and len(gaps) >= asked - 17
    assert {one.key[0] for one in refused + rest} == set(range(asked))  # type: ignore[union-attr,index]


@pytest.mark.parametrize("level", [5, 8])
def test_a_level_above_the_last_one_is_refused(publisher: Publisher, level: int) -> None:
    with Sockets() as hub:
        link = hub.connect("dealer", publisher.address_pull)
        said = {"protocol": "cl1", "type": "fetch", "key": [0, 0, 0], "view": {"level": level}}
        link.send([json.dumps(said).encode()])
        refused = answer(hub, link, Refused)
    assert isinstance(refused, Refused) and refused.reason == "protocol" and "level" in refused.detail


def test_what_comes_from_the_store_says_how_many_bits_it_keeps() -> None:
    kept = replace(samples.restored(0), mantissa_bits=10)
    with Publisher(samples.config(), replay_from_store=lambda _: kept) as publisher, Sockets() as hub:
        publisher.start(samples.started(), samples.NETWORK)
        publisher.publish(samples.restored(1))
        link = hub.connect("dealer", publisher.address_pull)
        for t in (0, 1):
            link.send(cl1.encode_request(Fetch(key=(t, 0, 0))))
        stored, live = (answer(hub, link, VolumeMessage) for _ in range(2))
    by_key = {one.key[0]: one.mantissa_bits for one in (stored, live)}  # type: ignore[union-attr]
    assert by_key == {0: 10, 1: msgspec.UNSET}


def test_who_is_taken_off_the_list_gets_nothing_from_the_next_message_on(tmp_path: Path) -> None:
    server, allowed = samples.write_keys(tmp_path)
    pairs = {name: new_pair() for name in ("mia", "rex")}
    for name, pair in pairs.items():
        keys.allow(allowed, pair.public, name, "viewer")
    own = keys.read_pair(server).public
    with (
        Publisher(samples.config(server_key_file=server, authorized_keys_file=allowed)) as publisher,
        Sockets(client=keys.ClientKeys(pairs["mia"], own)) as mia,
        Sockets(client=keys.ClientKeys(pairs["rex"], own)) as rex,
    ):
        publisher.start(samples.started(), samples.NETWORK)
        publisher.publish(samples.restored(0))
        links = {hub: hub.connect("dealer", publisher.address_pull, hwm=64) for hub in (mia, rex)}
        for hub, link in links.items():
            link.send(cl1.encode_request(Newest(credit=8)))
            assert answer(hub, link, VolumeMessage) is not None
        keys.revoke(allowed, "rex")
        for t in range(1, 6):
            publisher.publish(samples.restored(t))
            came = answer(mia, links[mia], VolumeMessage)
            assert isinstance(came, VolumeMessage) and came.key[0] == t
        assert answer(rex, links[rex], VolumeMessage, timeout_s=1.0) is None


def test_what_the_log_has_forgotten_is_a_gap_behind_which_the_start_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder that joins late: the networks were described anew, and since then more came than the log keeps."""
    monkeypatch.setattr(log_of_run, "MAX_ENTRIES", 8)
    kept = {VolumeKey(t): samples.restored(t) for t in range(20)}
    with Publisher(samples.config(), replay_from_store=kept.get) as publisher:
        publisher.start(samples.started(20))
        publisher.describe_networks(samples.NETWORK)  # a second start, with number 1
        with Subscriber(publisher.address_pull) as early:
            while (message := early.next(60.0)) is not None and getattr(message, "seq", None) != 1:
                pass
        for restored in kept.values():
            publisher.publish(restored)
        publisher.end(samples.ENDED)
        came: list[FromDaemon] = []
        with Subscriber(publisher.address_pull, mode="every") as late:
            late.fetch(VolumeKey(3))
            while not came or not isinstance(came[-1], End):
                message = late.next(60.0)
                assert message is not None, came
                came += [] if isinstance(message, Heartbeat) else [message]
    assert {one.seq for one in came if isinstance(one, Start)} == {1}
    assert [(gap.reason, gap.last) for gap in came if isinstance(gap, Gap)] == [("forgotten", 14)]
    keys = [one.key.t for one in came if isinstance(one, Delivery)]
    assert sorted(keys) == [3, *range(13, 20)]
    assert all(one.volume is not None and one.model == samples.MODEL for one in came if isinstance(one, Delivery))
