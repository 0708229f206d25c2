"""The table of volumes in flight: opened, streaming, complete or abandoned, with its limits and reasons."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.images import VolumeKey
from care_live.reasons import streamed, whole
from care_live.restore.in_flight import InFlight, PlaneProgress


def table(n: int, **limits: int) -> InFlight[str]:
    found: InFlight[str] = InFlight(**limits)
    for t in range(n):
        found.open(VolumeKey(t), f"memory {t}")
    return found


def test_a_volume_goes_from_opened_over_streaming_to_complete() -> None:
    ours = table(1)
    (volume,) = ours
    assert (volume.state, volume.choice) == ("opened", None)
    ours.stream(volume, streamed("asked"))
    assert volume.state == "streaming"
    assert ours.complete(VolumeKey(0)) is volume
    assert (volume.state, volume.choice) == ("complete", streamed("asked"))
    assert list(ours) == []
    assert ours.complete(VolumeKey(0)) is None


def test_a_volume_that_was_abandoned_keeps_its_reason_until_it_is_asked_for() -> None:
    ours = table(1)
    gone = ours.abandon(VolumeKey(0), whole("swapped"))
    assert gone is not None
    assert (gone.state, gone.held, gone.choice) == ("abandoned", "memory 0", whole("swapped"))
    assert ours.why_not(VolumeKey(0)) == whole("swapped")
    assert ours.why_not(VolumeKey(0)) is None


def test_a_volume_may_be_abandoned_before_it_is_opened() -> None:
    ours = table(0)
    assert ours.abandon(VolumeKey(7), whole("channels-unknown")) is None
    assert ours.why_not(VolumeKey(7)) == whole("channels-unknown")


def test_no_more_reasons_are_kept_than_volumes_may_wait() -> None:
    ours = table(0)
    for t in range(100):
        ours.abandon(VolumeKey(t), whole("channels-unknown"))
    kept = [t for t in range(100) if ours.why_not(VolumeKey(t)) is not None]
    assert kept == list(range(36, 100))


def test_the_oldest_volume_gives_way_to_the_fifth() -> None:
    ours = table(3, n_open=4)
    assert ours.evict() == []
    ours.open(VolumeKey(3), "memory 3")
    assert [gone.key.t for gone in ours.evict()] == [0]
    assert ours.why_not(VolumeKey(0)) == whole("overtaken")
    assert [volume.key.t for volume in ours] == [1, 2, 3]


def test_the_oldest_stream_makes_way_and_its_volume_stays() -> None:
    ours = table(4, n_streaming=2)
    one, two, declined, four = ours
    ours.stop(declined, whole("not-sooner"))
    for volume in (one, two):
        assert ours.make_way() == []
        ours.stream(volume)
    assert ours.make_way() == [one]
    assert (one.state, one.choice) == ("opened", whole("overtaken"))
    ours.stream(four)
    assert [volume.state for volume in ours] == ["opened", "streaming", "opened", "streaming"]
    assert declined.choice == whole("not-sooner")


def test_a_key_stands_for_one_volume() -> None:
    with pytest.raises(AssertionError, match="open already"):
        table(1).open(VolumeKey(0), "other")


def test_both_ends_read_the_progress_that_one_writes() -> None:
    counts = np.zeros(2, np.int64)
    theirs, ours = PlaneProgress(counts), PlaneProgress(counts)
    theirs.note(7, 3)
    assert (ours.n_taken, ours.n_restored) == (7, 3)
