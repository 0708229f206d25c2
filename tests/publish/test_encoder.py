"""What a message says of a volume's age."""

from __future__ import annotations

import time

from care_live.images import VolumeKey
from care_live.publish.encoder import Encoder, Run
from care_live.publish.log import Entry, Log
from care_live.wire.messages import View
from tests.make.stored import make_volume

SECOND_NS = 10**9


def age_s(*, now_ns: int, last_plane_ns: int, ago_s: float) -> float:
    """Return the age of a volume whose last plane came so long ago by the time of day."""
    acquired_us = time.time_ns() // 1000 - int(ago_s * 1e6)
    volume = make_volume(VolumeKey(0), last_plane_ns=last_plane_ns, acquired_us=acquired_us)
    encoder = Encoder(Run("a" * 16, "run"), Log(2**20), clock_ns=lambda: now_ns)
    entry = Entry(-1, None, volume.key)
    return encoder.volume(entry, volume, View()).message.age_us / 1e6


def test_it_is_of_the_clock_that_never_jumps() -> None:
    assert age_s(now_ns=50 * SECOND_NS, last_plane_ns=47 * SECOND_NS, ago_s=-3600) == 3.0


def test_where_the_machine_was_started_anew_it_is_of_the_time_of_day() -> None:
    assert 3600 <= age_s(now_ns=5 * SECOND_NS, last_plane_ns=10**6 * SECOND_NS, ago_s=3600) < 3700
    assert age_s(now_ns=5 * SECOND_NS, last_plane_ns=10**6 * SECOND_NS, ago_s=-3600) == 0.0
