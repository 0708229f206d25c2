"""Slabs in a real browser: the newest volume fills up from its first planes, over a real link."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from care_live.images import Restored, read_only
from care_live.publish import Publisher
from care_live.viewer.web.server import following
from tests.make import samples
from tests.make.scenes import STARTED, serving
from tests.make.scenes import restored as small
from tests.make.waiting import until

from .browser import Screen
from .test_web_pixels import STEP_UM, grey

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOW, HIGH = 60, 400


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(samples.config()) as served:
        served.start(STARTED, samples.NETWORK)
        yield served


@contextlib.contextmanager
def page(window: Any, publisher: Publisher, first: Restored) -> Iterator[Screen]:
    """Open the page of a gateway that knows nothing but the daemon's one address."""
    publisher.publish(first)
    with following(publisher.address_pull, None) as index, serving(index) as (_, address):
        until(lambda: index.cache.known() and any(channel.product == "slab" for channel in publisher.subscribed))
        screen = Screen(window, address)
        screen.look(gamma=1)
        yield screen
        errors = screen.errors()
        window.get("about:blank")
    assert not errors


def slab(volume: Restored, first: int, last: int) -> Restored:
    maps = {head: read_only(array[first:last]) for head, array in volume.maps.items()}
    return replace(volume, raw=None, maps=maps, z=slice(first, last), n_planes=len(volume.mean))


def colours(screen: Screen, pane: str = "restored") -> np.ndarray:
    return screen.pane(pane).image((16, 24), STEP_UM)[..., 0]


def note(screen: Screen, pane: str) -> str:
    return screen.window.find_element("css selector", f'[data-pane="{pane}"] .pane-note').text


def test_a_plane_is_drawn_before_its_volume_is_whole(window: Any, publisher: Publisher) -> None:
    old, new = small(0), small(1)
    with page(window, publisher, old) as screen:
        screen.ask(z=1)
        screen.contrast("mean", LOW, HIGH)
        publisher.broadcast.slab(slab(new, 0, 1))
        screen.until("careLive.restoring.n === 1")
        assert screen.js("careLive.header().t") == 0, "that plane is still to come"
        assert np.abs(colours(screen) - grey(old.mean[1], LOW, HIGH)).max() <= 1
        assert note(screen, "restored") == "t 1 still being restored: 1 of 4 planes"
        publisher.broadcast.slab(slab(new, 1, 3))
        screen.until("careLive.header().t === 1")
        assert screen.js("careLive.header().live") is True
        assert np.abs(colours(screen) - grey(new.mean[1], LOW, HIGH)).max() <= 1
        assert screen.window.find_element("id", "state").text == "restoring…"
        assert note(screen, "raw") == "of t 0; t 1 is still being recorded"
        screen.until("careLive.restoring.n === 3")
        publisher.publish(new)
        screen.until("careLive.header().channels[0].n_restored === null")
        assert np.abs(colours(screen) - grey(new.mean[1], LOW, HIGH)).max() <= 1
        assert screen.window.find_element("id", "state").text == "provisional"
        assert note(screen, "restored") == note(screen, "raw") == ""
        assert not screen.window.find_element("css selector", "progress.filling").is_displayed()


def test_no_picture_in_between_is_empty_and_a_plane_is_sent_once(window: Any, publisher: Publisher) -> None:
    with page(window, publisher, small(0)) as screen:
        screen.ask(z=2)
        screen.js(
            "(window.seen = [], careLive.stream.addEventListener('picture', ({ detail: { header, arrays } }) => "
            "seen.push([header.t, header.channels[0].n_restored, [...arrays.keys()].sort().join(' ')])))"
        )
        for t in (1, 2):
            new = small(t)
            for z in range(4):
                publisher.broadcast.slab(slab(new, z, z + 1))
                screen.until(f"careLive.restoring.t === {t} && careLive.restoring.n === {z + 1}")
            screen.until(f"careLive.header().t === {t}")  # before the whole volume can take its place
            publisher.publish(new)
            screen.until(f"careLive.header().t === {t} && careLive.header().channels[0].n_restored === null")
        everything = "0/laplace_scale/xy 0/mean/xy 0/raw/xy"
        assert screen.js("seen") == [
            [1, 3, everything], [1, None, everything], [2, 3, everything], [2, None, everything]
        ]  # fmt: skip


def test_a_hand_on_the_time_slider_is_not_moved_by_slabs(window: Any, publisher: Publisher) -> None:
    with page(window, publisher, small(0)) as screen:
        publisher.publish(small(1))
        screen.until("careLive.times.length === 2 && careLive.header().t === 1")
        screen.ask(t=0, z=0)
        publisher.broadcast.slab(slab(small(2), 0, 2))
        screen.until("careLive.restoring.n === 2")
        assert screen.js("careLive.header().t") == 0
        screen.press(" ")
        screen.until("careLive.header().t === 2 && careLive.header().channels[0].n_restored === 2")


def test_side_views_fill_up_and_say_how_far(window: Any, publisher: Publisher) -> None:
    old, new = small(0), small(1)
    with page(window, publisher, old) as screen:
        screen.ask(mode="ortho", z=3, y=5, x=7)
        screen.contrast("mean", LOW, HIGH)
        for last in (1, 3):
            publisher.broadcast.slab(slab(new, {1: 0, 3: 1}[last], last))
            screen.until(f"careLive.header().channels[0].n_restored === {last}")
            whole = np.concatenate([new.mean[:last], old.mean[last:]])
            field = 16 * 0.5 + 0.02 * 24 * 0.5  # below the xy plane and the gap
            sides = screen.pane("restored").image((4, 24), (2.0, 0.5), (field, 0))[..., 0]
            assert np.abs(sides - grey(whole[:, 5, :], LOW, HIGH)).max() <= 1


def test_a_slow_link_gets_coarse_slabs_too(window: Any, publisher: Publisher) -> None:
    with page(window, publisher, small(0)) as screen:
        screen.ask(z=0, quality="lossy")
        publisher.broadcast.slab(slab(small(1), 0, 1))
        screen.until("careLive.header().channels[0].n_restored === 1")
        assert screen.js("careLive.header().lossy") is True
