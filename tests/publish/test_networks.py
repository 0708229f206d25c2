"""What watchers receive about networks: of those that read more channels than they give, and of another one."""

from __future__ import annotations

from care_live.images import ModelIdentity, NetworkInUse, VolumeKey
from care_live.publish import Delivery, Publisher, Subscriber
from care_live.wire.messages import Start, View
from tests.make import samples
from tests.make.watching import until

WITHOUT_RAW = View(products=("mean",))


def seen(subscriber: Subscriber) -> Delivery:
    received = until(subscriber, Delivery)
    assert isinstance(received, Delivery) and received.is_whole
    return received


def test_a_raw_channel_that_was_only_read_is_news_for_those_who_want_raw(publisher: Publisher) -> None:
    publisher.publish(samples.volume(0, 1))
    publisher.publish(samples.restored(0))
    with Subscriber(publisher.address_pull) as everything:
        assert {seen(everything).key for _ in range(2)} == {VolumeKey(0, 0, 0), VolumeKey(0, 0, 1)}
    with Subscriber(publisher.address_pull, view=WITHOUT_RAW) as newest:
        assert next(newest.volumes(5)).key == VolumeKey(0, 0, 0)
    with Subscriber(publisher.address_pull, mode="every", view=WITHOUT_RAW) as every:
        only_read, restored = seen(every), seen(every)
    assert (only_read.key.c, only_read.header.arrays, only_read.model) == (1, (), None)
    assert restored.key.c == 0 and "mean" in restored.maps


def test_another_network_is_sent_as_the_run_anew(publisher: Publisher) -> None:
    publisher.describe_networks(NetworkInUse(samples.MODEL, {"name": "worm3d"}))
    publisher.describe_networks(NetworkInUse(ModelIdentity("other", "cd" * 32), {"name": "other"}))
    publisher.publish(samples.restored(0))
    with Subscriber(publisher.address_pull, mode="every") as subscriber:
        first, again = until(subscriber, Start), until(subscriber, Start)
        assert isinstance(first, Start) and isinstance(again, Start)
        assert (first.seq, again.seq, seen(subscriber).seq) == (0, 1, 2)
    assert again.model is not None and again.model.name == again.card["name"] == "other"
