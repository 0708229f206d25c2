"""Faults 5 to 9: watchers that freeze or die, are slow, many, away or late; none of them may disturb the run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import websockets.exceptions
from websockets.sync.client import connect

from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.publish import Subscriber
from care_live.store import RunReader
from tests.faults.audience import page, viewer, viewers
from tests.faults.lab import FULL, N_KILLS, check_raw, check_whole, daemon, recorded, rss_mib
from tests.publish.relay import Relay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SHAPE = (16, 192, 192)
VOLUME_MIB = 16 * 192 * 192 * (2 + 4 + 4) / 2**20
"""Raw, mean and scale."""
RATE_HZ = 32.0
PERIOD_S = SHAPE[0] / RATE_HZ
N_BROWSERS = 20
N_FROZEN_PERIODS = 120 if FULL else 10


def source(folder) -> dict[str, object]:
    return {"kind": "replay", "path": str(folder / "movie.tif"), "axes": "TZYX", "speed": RATE_HZ}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process in its tracks")
def test_05_viewers_frozen_in_every_channel(tmp_path):
    """A broadcast's listener, a viewer, a recorder and a browser freeze: at most three volumes of memory each."""
    pixels = recorded(tmp_path, times=20 + N_FROZEN_PERIODS, shape=SHAPE)
    with daemon(tmp_path, source=source(tmp_path), publish={"replay_mib": 16}) as watched:
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
            thawed_mib = _peak_mib(watched, 5)
            for one in frozen:
                one.freeze()
            first_frozen = len(RunReader(watched.run).keys("raw"))
            frozen_mib = _peak_mib(watched, N_FROZEN_PERIODS)
            last_frozen = len(RunReader(watched.run).keys("raw"))
            watched.drain()
            watched.end()
    check_raw(watched.run, pixels)
    assert last_frozen - first_frozen >= N_FROZEN_PERIODS / 2, "the run did not go on"
    assert frozen_mib - thawed_mib <= 3 * len(frozen) * VOLUME_MIB
    if FULL:
        gaps_ms = [
            RunReader(watched.run).read_raw(key).integrity.worst_gap_ms for key in RunReader(watched.run).keys("raw")
        ]
        before, during = gaps_ms[2:first_frozen], gaps_ms[first_frozen:last_frozen]
        assert np.percentile(during, 99) <= 1.1 * np.percentile(before, 99)


def _peak_mib(watched, n_periods: int) -> float:
    """Return the most memory that the daemon itself takes while so many volumes are recorded."""
    end, peak = time.monotonic() + n_periods * PERIOD_S, 0.0
    while time.monotonic() < end:
        peak = max(peak, rss_mib(watched.process))
        time.sleep(0.05)
    return peak


def test_05_viewers_killed(tmp_path):
    """Watchers that are killed at any moment cost the run nothing."""
    pixels = recorded(tmp_path, times=20 + 10 * N_KILLS)
    with daemon(tmp_path) as watched:
        watched.wait_until(lambda status: status.get("phase") == "running")
        for _ in range(N_KILLS):
            with viewers(tmp_path, ["newest", "every"], watched.address) as both:
                both[0].wait_for(1)
        watched.end()
    check_whole(watched.run, pixels)


def test_06_viewer_four_times_slower(tmp_path):
    """What it shows is never older than one and a half of its own frame times."""
    work_s = 4 * PERIOD_S
    recorded(tmp_path, times=60 if FULL else 26, shape=SHAPE)
    with daemon(tmp_path, source=source(tmp_path)) as watched:
        with viewer(tmp_path, "newest", watched.address, work_s=work_s) as slow:
            watched.wait_for_volumes(60 if FULL else 26)
            ages_s = [one["age_s"] for one in slow.seen()]
            skipped = sum(one["skipped"] for one in slow.seen())
        watched.drain()
        watched.end()
    assert len(ages_s) >= 4 and skipped >= 2 * len(ages_s) - 4, "it was not slower than the source"
    assert max(ages_s) <= 1.5 * work_s


def test_07_a_full_house(tmp_path):
    """Twenty browsers and four full subscribers cost no raw volume; one browser too many is refused by name."""
    times = 60 if FULL else 16
    pixels = recorded(tmp_path, times=times, shape=SHAPE)
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
            status = watched.wait_for_volumes(times)
        watched.drain()
        watched.end()
    assert n_opened >= N_BROWSERS
    assert refusal in {403, 503}
    assert (status["lost_planes"], status["refused_volumes"]) == (0, 0)
    check_raw(watched.run, pixels, wanted=times)


def _open_browsers(url: str, browsers: ExitStack) -> tuple[int, int]:
    """Open pages until one is refused; return how many are open, and the refusal's HTTP status.

    The first ones ask for pictures, the others only take up the places.
    """
    home = url.partition("/?token=")[0]
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in httpx.get(url).cookies.items())}
    for n in range(200):
        try:
            live = home.replace("http://", "ws://") + "/live"
            link = browsers.enter_context(connect(live, origin=home, additional_headers=cookie, close_timeout=0.1))
        except websockets.exceptions.InvalidStatus as refused:
            return n, refused.response.status_code
        if n < N_BROWSERS:
            link.send('{"op":"credit","n":2}')
    return 200, 0


def test_08_recorder_away(tmp_path):
    """After 10 s without a link it gets all that it missed, by replay from the store, since memory keeps none."""
    pixels = recorded(tmp_path, times=400)
    slow = {**source(tmp_path), "speed": 16.0}
    with (
        daemon(tmp_path, source=slow, publish={"replay_mib": 0}) as watched,
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
        assert recording.wait(60) == 0
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
        process.wait(20)


def restored_in(run: Path) -> list[VolumeKey]:
    try:
        return RunReader(run).keys("restored")
    except StoreError:
        return []


def wait_until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_09_late_joiner(tmp_path):
    """The first picture comes within one volume period."""
    recorded(tmp_path, times=20, shape=SHAPE)
    with daemon(tmp_path, source={**source(tmp_path), "speed": 8.0}) as watched:  # a period of 2 s
        watched.wait_until(lambda status: status.get("restored", 0) >= 2)
        with Subscriber(watched.address) as late:
            came_s = time.monotonic()
            next(late.volumes(timeout_s=20))
            waited_s = time.monotonic() - came_s
        watched.drain()
        watched.end()
    assert waited_s <= SHAPE[0] / 8.0
