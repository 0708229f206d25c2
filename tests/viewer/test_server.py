"""The page of a real daemon."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from care_live.images import VolumeKey
from care_live.store import RunReader
from care_live.viewer.web.server import following
from tests.make.networks import save_network
from tests.make.scenes import serving
from tests.make.scripted import Script, Scripted, frames, plan, scripted_daemon, started
from tests.make.waiting import until

from .browser import Screen
from .test_web_pixels import grey

pytestmark = [pytest.mark.browser, pytest.mark.slow]


GROWS = (48, 40, 48)
N_FIRST = 40
"""Planes of the second volume that come before the page has shown some of them."""


@pytest.mark.parametrize("members", [1, 2], ids=["one", "ensemble"])
def test_the_page_of_a_real_daemon_shows_planes_before_their_stack_is_recorded(
    window: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: int
) -> None:
    """The order decides, not the clock: the last planes of a stack come once its first ones are on the screen."""
    on_the_screen = threading.Event()

    def script() -> Script:
        keys = [VolumeKey(0), VolumeKey(1)]
        yield started(plan(keys, GROWS))
        yield from frames(keys[0], shape=GROWS)
        while daemon.status().stored_restored < 1:
            yield None
        yield from frames(keys[1], N_FIRST, shape=GROWS)
        while not on_the_screen.is_set():
            yield None
        yield from frames(keys[1], shape=GROWS, first=N_FIRST)

    model = save_network(tmp_path / "network.onnx", members=members)
    fixed = {"mode": "fixed", "low_counts": 100, "high_counts": 900}
    restore = {"model": str(model), "streaming": "on", "normalise": fixed}
    daemon, settings = scripted_daemon(
        tmp_path, Scripted(script()), monkeypatch, restore=restore, assemble={"deadline_s": 200.0}
    )  # fmt: skip
    run_directory = tmp_path / "runs" / "test"
    ended: list[object] = []
    with following(settings.publish.bind_pull, None) as index, serving(index) as (_, address):
        running = threading.Thread(target=lambda: ended.append(daemon.run()), name="daemon of a test")
        running.start()
        try:
            until(lambda: index.cache.growing() or not running.is_alive(), deadline_s=60)
            screen = Screen(window, address)
            screen.ask(z=0)
            screen.until("careLive.header()?.t === 1 && careLive.header().channels[0].n_restored > 0", deadline_s=60)
            screen.until("careLive.restoring.t === 1")
            n, of = screen.js("[careLive.restoring.n, careLive.restoring.of]")
            assert RunReader(run_directory).keys("restored") == [VolumeKey(0)], "drawn before it was whole"
            assert 0 < n <= N_FIRST < of == GROWS[0]
            assert screen.js("careLive.picture.arrays.has('0/disagreement/xy')") is (members > 1)
            screen.look(layer="disagreement" if members > 1 else "marked")
            uncertain = screen.pane("uncertainty").pixels
            screen.contrast("mean", 100, 900)
            screen.look(gamma=1)
            drawn = screen.pane("restored")
        finally:
            on_the_screen.set()
            running.join(120)
        window.get("about:blank")
    assert ended
    step = tuple(index.following()[0].voxel_size_um[1:])
    shown = drawn.image(GROWS[1:], step)[..., 0]
    stored = RunReader(run_directory).read("restored", VolumeKey(1))
    assert np.abs(shown - grey(stored[0], 100, 900)).max() <= 1.5
    assert uncertain.max() > 20
