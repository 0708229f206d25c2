"""A tap's sender beside an acquisition: a slow daemon costs whole volumes, none at all costs no time."""

from __future__ import annotations

import time

from care_live.images import (
    RunEnded,
    VolumeKey,
)
from care_live.source import tap
from care_live.source.remote import Remote
from care_live.wire.last_wait import LastWait
from tests.source.tapped import bring, drain, events, frames, image, over, unused_address


def test_a_slow_daemon_costs_whole_volumes_and_no_time(remote: Remote) -> None:
    planned = events(n_t=40, n_z=5)
    plane_bytes = image(0).nbytes
    tapped = tap(remote.address, events=planned, memory_bytes=plane_bytes * 22)
    begun = time.monotonic()
    bring(tapped, planned)  # the daemon asks for nothing yet
    assert time.monotonic() - begun < 100.0, "no frame was taken, and the acquisition ended all the same"
    got = drain(remote)
    ended = got[-1]
    assert isinstance(ended, RunEnded)
    came: dict[VolumeKey, int] = {}
    for frame in frames(got):
        came[frame.index.volume] = came.get(frame.index.volume, 0) + 1
    assert set(came.values()) == {5}
    assert ended.n_refused > 0
    assert ended.n_delivered + ended.n_refused == len(planned)
    assert over(tapped)


def test_without_a_daemon_a_tap_gives_up_in_time() -> None:
    free = unused_address()
    tapped = tap(free, events=events(1, 1))
    bring(tapped, events(1, 1))
    begun = time.monotonic()
    tapped.close(within_s=0.5)
    assert time.monotonic() - begun < 100.0
    assert over(tapped)


def test_a_tap_gives_a_daemon_up_that_takes_nothing() -> None:
    now_s = 0.0
    for limit_s, lasts_s in ((None, 60.0), (5.0, 5.0)):
        wait = LastWait(lambda: now_s)
        wait.begin(limit_s)
        wait.note_progress()
        assert wait.overdue_s == -lasts_s
