"""A watcher gets every message in order, also from the store."""

from __future__ import annotations

from care_live.images import NotRestored, Restored, StateChanged, Volume, VolumeKey
from care_live.publish.delivery import Delivery
from care_live.publish.publisher import Publisher
from care_live.publish.subscriber import Subscriber
from care_live.wire.messages import Change, End, Gap, Skipped, Start
from tests.make import samples
from tests.make.watching import until


def test_replay_gives_every_message_in_order(publisher: Publisher) -> None:
    publisher.publish(samples.restored(0))
    publisher.change(StateChanged(VolumeKey(0), "suspect", "a frame was lost"))
    publisher.skipped(NotRestored(VolumeKey(1), "skipped", "restoration lags"))
    publisher.publish(samples.restored(2))
    publisher.end(samples.ENDED)
    with Subscriber(publisher.address_pull, mode="every") as recorder:
        start = until(recorder, Start)
        volume = until(recorder, Delivery)
        change = until(recorder, Change)
        skipped = until(recorder, Skipped)
        later = until(recorder, Delivery)
        end = until(recorder, End)
    assert [start.seq, volume.seq, change.seq, skipped.seq, later.seq, end.seq] == [0, 1, 2, 3, 4, 5]
    assert (change.key, change.state) == ((0, 0, 0), "suspect")
    assert volume.state == "suspect"  # what is known by now
    assert (skipped.key, skipped.reason) == ((1, 0, 0), "skipped")


def test_replay_reaches_back_into_the_store_and_says_what_is_gone() -> None:
    stored = {VolumeKey(t): samples.restored(t) for t in range(6)}
    asked: list[VolumeKey] = []

    def read(key: VolumeKey) -> Restored | Volume | None:
        asked.append(key)
        if key.t == 3:
            raise OSError("the disk is on fire")
        if key.t == 4:
            raise ZeroDivisionError("a bug in the store")
        return None if key.t == 2 else stored[key]

    with Publisher(samples.config(replay_mib=0), replay_from_store=read) as publisher:
        publisher.start(samples.started(), samples.NETWORK)
        for t in range(6):
            publisher.publish(stored[VolumeKey(t)])
        publisher.end(samples.ENDED)
        assert publisher.held_bytes < 3 * samples.restored(0).mean.nbytes * 4
        with Subscriber(publisher.address_pull, mode="every") as recorder:
            messages = []
            while not isinstance(message := recorder.next(60), End):
                assert message is not None
                messages.append(message)
    assert [volume.key.t for volume in messages if isinstance(volume, Delivery) and volume.is_whole] == [0, 1, 5]
    gaps = [message for message in messages if isinstance(message, Gap)]
    assert [(gap.first, gap.reason) for gap in gaps] == [(3, "not-stored"), (4, "unreadable"), (5, "unreadable")]
    assert "on fire" in gaps[1].detail
    assert recorder.n_lost == 3
    assert sorted(set(asked)) == [VolumeKey(t) for t in range(5)]


def test_without_a_store_what_memory_forgot_is_a_gap() -> None:
    with Publisher(samples.config(replay_mib=0)) as publisher:
        publisher.start(samples.started(), samples.NETWORK)
        for t in range(3):
            publisher.publish(samples.restored(t))
        publisher.end(samples.ENDED)
        with Subscriber(publisher.address_pull, mode="every") as recorder:
            assert [volume.key.t for volume in recorder.volumes(60.0)] == [2]
            assert recorder.n_lost == 2
