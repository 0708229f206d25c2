"""Live between runs: the newest frame is shown restored, raw where the network lags, and none is stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from care_live.config import LiveConfig, PublishConfig, StoreConfig
from care_live.daemon import run as daemon_run
from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.live_keeping import RecentFrames
from care_live.daemon.live_restoring import RunningAverage
from care_live.daemon.live_show import LiveShow
from care_live.daemon.run import Daemon
from care_live.daemon.run_metrics import Tally
from care_live.images import Restored, RunEnded, RunStarted, VolumeKey, read_only
from care_live.live_frame import LIVE_RUN, LatestFrame, LiveConditions, LiveFrame
from care_live.publish.delivery import Delivery
from care_live.publish.publisher import Publisher
from care_live.publish.subscriber import Subscriber
from care_live.store import RunReader
from tests.make.networks import save_network
from tests.make.runs import config
from tests.make.scripted import Scripted, frames, plan

WAIT_S = 60.0
SHAPE = (32, 48)


class Camera:
    """Puts a frame each time one is wanted, until it is closed; its pixels are the frame's number."""

    def __init__(self, newest: LatestFrame) -> None:
        self._newest, self._closing = newest, threading.Event()
        self._thread = threading.Thread(target=self._main)
        self._thread.start()

    def _main(self) -> None:
        number = 0
        while not self._closing.is_set():
            if self._newest.wait_wanted(0.05):
                number += 1
                pixels = read_only(np.random.default_rng(number).integers(90, 900, SHAPE).astype(np.uint16))
                self._newest.put(LiveFrame(pixels, number, 0, LiveConditions(exposure_ms=5.0, channel="DAPI")))

    def close(self) -> None:
        self._closing.set()
        self._newest.close()
        self._thread.join(WAIT_S)


class ScriptedLive(Scripted):
    """A scripted source that shows Live: its script goes on after the end of a run."""

    def __init__(self, script: object) -> None:
        super().__init__(script)  # type: ignore[arg-type]
        self.live = LatestFrame()

    def next_event(self, timeout_s: float) -> object:  # type: ignore[override]
        event = super().next_event(timeout_s)
        self._ended = False
        return event


def deliveries(watcher: Subscriber, run: str, *, restored: bool = True) -> Iterator[Delivery]:
    """Yield what comes of a run, until nothing comes for too long."""
    while (message := watcher.next(WAIT_S)) is not None:
        if isinstance(message, Delivery) and message.run_id == run and (message.mean is not None) == restored:
            yield message


@pytest.mark.parametrize("n_past", [0, 2])  # of a frame of Live nothing earlier is read
def test_live_then_a_run_then_live_in_one_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_past: int) -> None:
    begin, end = threading.Event(), threading.Event()

    def script() -> Iterator[object]:
        while not begin.is_set():
            yield None
        yield RunStarted("evening", plan([VolumeKey(0)]))
        yield from frames(VolumeKey(0), run_id="evening")
        yield RunEnded("finished")
        while not end.is_set():
            yield None

    source = ScriptedLive(script())
    monkeypatch.setattr(daemon_run, "open_remaining", lambda *_: source)
    restore = {"model": str(save_network(tmp_path / "net.onnx", past=n_past))}
    settings = config(tmp_path, {"kind": "live"}, live={"lag_ms": 60_000}, restore=restore)
    daemon = Daemon(settings, "evening")
    running = threading.Thread(target=daemon.run)
    camera = Camera(source.live)
    running.start()
    watcher = Subscriber(settings.publish.bind_pull)
    try:
        first = next(deliveries(watcher, LIVE_RUN))
        assert first.mean is not None and first.mean.shape == (1, *SHAPE)
        assert first.header.live == LiveConditions(exposure_ms=5.0, channel="DAPI")
        begin.set()
        of_run = next(deliveries(watcher, "evening"))
        assert of_run.key == VolumeKey(0)
        again = next(deliveries(watcher, LIVE_RUN))
        assert again.key.t > first.key.t
    finally:
        begin.set()
        end.set()
        daemon.drain()
        running.join(WAIT_S)
        watcher.close()
        camera.close()
    assert not running.is_alive()
    assert set(RunReader(tmp_path / "runs" / "evening").keys("raw")) == {VolumeKey(0)}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["evening"]
    assert daemon.status().phase == "finished"


class Gate:
    """A restoration that ends when it may."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self._average = RunningAverage(LiveConfig(average_frames=1))
        self.raw = self._average.raw

    def show(self, frame: LiveFrame, t: int) -> tuple[Restored, ...]:
        assert self.open.wait(WAIT_S)
        return self._average.show(frame, t)


@contextmanager
def live_show(restorer: Gate, *, lag_s: float) -> Iterator[tuple[LiveShow, str]]:
    """Give what shows the frames of a camera, and where viewers find it."""
    newest = LatestFrame()
    with Publisher(PublishConfig(bind="tcp://127.0.0.1:*", bind_pull="tcp://127.0.0.1:*")) as publisher:
        bulkhead = Bulkhead("publishing", "it goes on", Tally())
        recent = RecentFrames(LiveConfig(), StoreConfig(directory=Path("never")))
        show = LiveShow(newest, restorer, publisher=publisher, publishing=bulkhead, recent=recent, lag_s=lag_s)
        camera = Camera(newest)
        try:
            yield show, publisher.address_pull
        finally:
            restorer.open.set()
            camera.close()


@contextmanager
def showing(restorer: Gate, *, lag_s: float) -> Iterator[Subscriber]:
    with live_show(restorer, lag_s=lag_s) as (show, address), Subscriber(address) as watcher, show.shown():
        yield watcher
        restorer.open.set()


def test_raw_frames_are_shown_while_the_network_lags_and_restored_ones_when_it_does_not() -> None:
    gate = Gate()
    with showing(gate, lag_s=0.05) as watcher:
        lagging, *more = islice(deliveries(watcher, LIVE_RUN, restored=False), 4)
        assert len(more) == 3
        assert lagging.raw is not None and lagging.raw.shape == (1, *SHAPE)
        gate.open.set()
        caught_up = next(deliveries(watcher, LIVE_RUN))
        assert caught_up.key.t > lagging.key.t


def test_frames_are_restored_again_whenever_live_ended_before() -> None:
    """It may end between giving a frame to the network and its being taken, which leaves the network free."""
    gate = Gate()
    gate.open.set()
    with live_show(gate, lag_s=WAIT_S) as (show, _):
        for _ in range(200):
            n_before, deadline_s = show.n_restored, time.monotonic() + WAIT_S
            with show.shown():
                while show.n_restored == n_before and time.monotonic() < deadline_s:
                    time.sleep(0.0002)
            assert show.n_restored > n_before
