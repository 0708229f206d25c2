"""Faults 5 to 9: watchers that freeze or die, are slow, many, away or late; none of them may disturb the run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import httpx
import numpy as np
import pytest
import websockets.exceptions
from websockets.sync.client import connect

from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.publish import Subscriber
from care_live.publish.delivery import Delivery
from care_live.store import RunReader
from tests.faults.audience import page, viewer, viewers
from tests.faults.lab import (
    FULL,
    N_KILLS,
    PATIENCE,
    DaemonUnderTest,
    check_gapless,
    check_raw,
    daemon,
    recorded,
    rss_mib,
)
from tests.publish.relay import Relay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHAPE = (16, 192, 192)
VOLUME_MIB = 16 * 192 * 192 * (2 + 4 + 4) / 2**20
"""Raw, mean and scale."""
RATE_HZ = 32.0
PERIOD_S = SHAPE[0] / RATE_HZ
N_BROWSERS = 20
N_THAWED, N_FROZEN = (60, 120) if FULL else (4, 8)
"""Volumes that are recorded before the watchers freeze, and while they are frozen; the first fill a cache."""
WAITING_MIB = 16
"""What may wait for the disk: it must not count as memory that the watchers cost."""


def source(folder, speed: float = RATE_HZ) -> dict[str, object]:
    """Play the movie until the daemon is drained: how long watchers take to start decides nothing."""
    return {"kind": "replay", "path": str(folder / "movie.tif"), "axes": "TZYX", "speed": speed, "loops": 100}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process in its tracks")
def test_05_viewers_frozen_in_every_channel(tmp_path):
    """A broadcast's listener, a viewer, a recorder and a browser freeze: at most three volumes of memory each."""
    pixels = recorded(tmp_path, times=8, shape=SHAPE)
    settings = {"publish": {"replay_mib": 16}, "assemble": {"memory_mib": WAITING_MIB}}
    with daemon(tmp_path, source=source(tmp_path), **settings) as watched:
        watched.wait_until(lambda status: status.get("phase") == "running")
        broadcast = [str(watched.tree["publish"]["bind"])]
        with (
            page(watched.address) as url,
            viewers(tmp_path, ["newest", "every"], watched.address) as subscribers,
            viewer(tmp_path, "broadcast", *broadcast) as listener,
            viewer(tmp_path, "page", url) as browser,
        ):
            frozen = [*subscribers, listener, browser]
            for one in frozen:
                one.wait_for(2)
            thawed_mib = _peak_mib(watched, N_THAWED)
            for one in frozen:
                one.freeze()
            first_frozen = len(RunReader(watched.run).keys("raw"))
            frozen_mib = _peak_mib(watched, N_FROZEN)
            last_frozen = len(RunReader(watched.run).keys("raw"))
            watched.drain()
            watched.end()
    check_gapless(watched.run, pixels)
    assert frozen_mib - thawed_mib <= 3 * len(frozen) * VOLUME_MIB
    if FULL:
        gaps_ms = [
            RunReader(watched.run).read_raw(key).integrity.worst_gap_ms for key in RunReader(watched.run).keys("raw")
        ]
        before, during = gaps_ms[2:first_frozen], gaps_ms[first_frozen:last_frozen]
        assert np.percentile(during, 99) <= 1.1 * np.percentile(before, 99)


def _peak_mib(watched, n_volumes: int) -> float:
    """Return the most memory that the daemon itself takes until it has stored some more volumes."""
    peaks_mib: list[float] = []
    last = watched.wait_until(lambda status: "stored_raw" in status)["stored_raw"] + n_volumes

    def has_gone_on(status) -> bool:
        peaks_mib.append(rss_mib(watched.process))
        return status.get("stored_raw", 0) >= last

    watched.wait_until(has_gone_on, within_s=120.0 + n_volumes * PERIOD_S)
    return max(peaks_mib)


def test_05_viewers_killed(tmp_path):
    """Watchers that are killed at any moment cost the run nothing."""
    pixels = recorded(tmp_path, times=8)
    with daemon(tmp_path, source=source(tmp_path, 60.0)) as watched:
        watched.wait_until(lambda status: status.get("phase") == "running")
        for _ in range(N_KILLS):
            with viewers(tmp_path, ["newest", "every"], watched.address) as both:
                both[0].wait_for(1)
        watched.drain()
        status = watched.end()
    assert not status["faults"]
    check_gapless(watched.run, pixels)


def test_06_viewer_four_times_slower(tmp_path):
    """What it shows is never older than one and a half of its own frame times."""
    work_s, n_seen = 4 * PERIOD_S, 15 if FULL else 6
    recorded(tmp_path, times=8, shape=(SHAPE[0], 96, 96))
    with daemon(tmp_path, source=source(tmp_path)) as watched:
        with viewer(tmp_path, "newest", watched.address, work_s=work_s) as slow:
            slow.wait_for(n_seen, within_s=120.0)
            ages_s = [one["age_s"] for one in slow.seen()]
            skipped = sum(one["skipped"] for one in slow.seen())
        watched.drain()
        watched.end()
    assert skipped >= n_seen / 2, "it was not slower than the source"
    assert max(ages_s) <= 1.5 * work_s * PATIENCE / 2


def test_07_a_full_house(tmp_path):
    """Twenty browsers and four full subscribers cost no raw volume; one browser too many is refused by name."""
    pixels = recorded(tmp_path, times=8, shape=SHAPE)
    with daemon(tmp_path, source=source(tmp_path)) as watched:
        watched.wait_until(lambda status: status.get("phase") == "running")
        with (
            page(watched.address) as url,
            viewers(tmp_path, ["every"] * 4, watched.address) as subscribers,
            ExitStack() as browsers,
        ):
            n_opened, refusal = _open_browsers(url, browsers)
            for one in subscribers:
                one.wait_for(3)
            status = watched.wait_for_volumes(60 if FULL else 16)
        watched.drain()
        watched.end()
    assert n_opened >= N_BROWSERS
    assert refusal in {403, 503}
    assert (status["lost_planes"], status["refused_volumes"]) == (0, 0)
    check_gapless(watched.run, pixels)


def _open_browsers(url: str, browsers: ExitStack) -> tuple[int, int]:
    """Open pages until one is refused; return how many are open, and the refusal's HTTP status.

    The first ones ask for pictures, the others only take up the places.
    """
    home = url.partition("/?token=")[0]
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in httpx.get(url, timeout=60).cookies.items())}
    for n in range(200):
        try:
            live = home.replace("http://", "ws://") + "/live"
            link = browsers.enter_context(
                connect(live, origin=home, additional_headers=cookie, open_timeout=60, close_timeout=0.1)
            )
        except websockets.exceptions.InvalidStatus as refused:
            return n, refused.response.status_code
        if n < N_BROWSERS:
            link.send('{"op":"credit","n":2}')
    return 200, 0


def test_08_recorder_away(tmp_path):
    """After 10 s without a link it gets all that it missed, by replay from the store, since memory keeps none."""
    pixels = recorded(tmp_path, times=8)
    with (
        daemon(tmp_path, source=source(tmp_path, 16.0), publish={"replay_mib": 0}) as watched,
        Relay(watched.address) as relay,
        recorder(tmp_path, relay.address) as recording,
    ):
        copy = tmp_path / "copy" / watched.run.name
        wait_until(lambda: len(restored_in(copy)) >= 2)
        relay.cut()
        time.sleep(10.0 if FULL else 2.0)
        missed = len(restored_in(watched.run))
        relay.mend()
        wait_until(lambda: len(restored_in(copy)) >= missed)
        watched.drain()
        watched.end()
        assert recording.wait(120) == 0
    assert restored_in(copy) == restored_in(watched.run)
    check_raw(copy, pixels, wanted=len(check_raw(watched.run, pixels)))


@contextmanager
def recorder(folder: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """Record a daemon as a user does, into ``folder/copy``."""
    process = subprocess.Popen([sys.executable, "-m", "care_live", "record", address, "copy", "-q"], cwd=folder)
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


def restored_in(run: Path) -> list[VolumeKey]:
    try:
        return RunReader(run).keys("restored")
    except StoreError:
        return []


def wait_until(holds: Callable[[], bool], within_s: float = 240.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_09_late_joiner(tmp_path):
    """The first picture comes at once: it is one that was there before, unless another came in the meantime."""
    recorded(tmp_path, times=8, shape=SHAPE)
    with daemon(tmp_path, source=source(tmp_path, 8.0)) as watched:  # a period of 2 s
        with Subscriber(watched.address) as early:
            was_there = any(_first_comes_after(watched, shown) <= 0 for shown in islice(early.volumes(60.0), 10))
        watched.drain()
        watched.end()
    assert was_there, "it waited for the next volume"


def _first_comes_after(watched: DaemonUnderTest, shown: Delivery) -> int:
    """Return how many time points after one that another viewer has just got the first one of a late viewer lies."""
    with Subscriber(watched.address) as late:
        return next(late.volumes(timeout_s=60)).key.t - shown.key.t
