"""Restored volumes in a real Micro-Manager: the newest one, at the plane and contrast that somebody has set."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from care_live.publish import Publisher
from care_live.source.java_bridge import JavaBridge, JavaObject
from care_live.viewer.window_stack import StackWindow, StackWindows, show_restored
from tests.make import samples
from tests.make.waiting import until
from tests.source.java_program import java_program

pytestmark = [pytest.mark.java, pytest.mark.slow, pytest.mark.timeout(900)]

_WAIT_S = 120.0


class Screen:
    """What Micro-Manager shows, by another client of its server."""

    def __init__(self, bridge: JavaBridge) -> None:
        self._bridge = bridge

    def images(self) -> dict[str, JavaObject]:
        """Return the open images by their titles."""
        numbers = self._bridge.static("ij.WindowManager", "getIDList")
        found = (self._image(number) for number in numbers.view(np.int32)) if isinstance(numbers, np.ndarray) else ()
        return {str(self._bridge.call(image, "getTitle")): image for image in found if image is not None}

    def _image(self, number: int) -> JavaObject | None:
        found = self._bridge.static("ij.WindowManager", "getImage", int(number), types=["int"])
        return found if isinstance(found, JavaObject) else None

    def image(self, part: str) -> JavaObject:
        """Return the image whose title has a part."""
        return next(image for title, image in self.images().items() if part in title)

    def plane(self, part: str) -> np.ndarray:
        processor = self._bridge.get(self.image(part), "getProcessor")
        return np.asarray(self._bridge.call(processor, "getPixels"))

    def call(self, part: str, method: str, *arguments: float, types: tuple[str, ...] = ()) -> object:
        return self._bridge.call(self.image(part), method, *arguments, types=types)


def stack(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(500, 100, (5, 48, 64)).astype(np.float32)


def test_restored_volumes_are_shown_in_the_window_of_micromanager(tmp_path: Path) -> None:
    with java_program("window", tmp_path) as port, closing(JavaBridge(port, answer_s=60.0)) as bridge:
        bridge.open()
        screen = Screen(bridge)
        shows_the_newest_at_the_plane_and_contrast_that_were_set(bridge, screen, tmp_path)
        shows_what_a_daemon_publishes(screen, port)
        tries_again_where_nothing_answers(tmp_path)


def shows_the_newest_at_the_plane_and_contrast_that_were_set(bridge: JavaBridge, screen: Screen, folder: Path) -> None:
    window = StackWindow(bridge, folder / "alone.tif")
    window.show(stack(0), 2.0, "first volume")
    assert np.allclose(screen.plane("first volume"), stack(0)[0].ravel())
    screen.call("first volume", "setSlice", 4, types=("int",))
    screen.call("first volume", "setDisplayRange", 100.0, 700.0, types=("double", "double"))
    window.show(stack(1), 2.0, "second volume")
    assert np.allclose(screen.plane("second volume"), stack(1)[3].ravel())
    assert screen.call("second volume", "getDisplayRangeMin") == 100.0
    assert screen.call("second volume", "getDisplayRangeMax") == 700.0
    window.find_again()
    window.show(stack(3), 2.0, "behind a break")
    assert list(screen.images()) == ["behind a break"], "in the same window"
    screen.call("behind a break", "close")
    until(lambda: not screen.images(), _WAIT_S)
    window.show(stack(2), 2.0, "third volume")
    assert window.is_closed
    assert not screen.images(), "it does not come back under somebody's hands"
    another = StackWindow(bridge, folder / "another.tif")
    another.show(stack(0), 2.0, "before a new start")
    screen.call("before a new start", "close")
    until(lambda: not screen.images(), _WAIT_S)
    another.find_again()
    another.show(stack(1), 2.0, "after a new start")
    assert list(screen.images()) == ["after a new start"], "what is gone is opened anew"
    screen.call("after a new start", "close")
    until(lambda: not screen.images(), _WAIT_S)


def shows_what_a_daemon_publishes(screen: Screen, port: int) -> None:
    stopping = threading.Event()
    with Publisher(samples.config()) as publisher:
        watching = threading.Thread(target=show_restored, args=(publisher.address_pull, port, stopping))
        watching.start()
        publisher.start(samples.started(), samples.NETWORK)
        for t in (0, 1):
            publisher.publish(samples.restored(t))
            until(shown(screen, t), _WAIT_S)
        assert np.allclose(screen.plane("t=1 "), samples.restored(1).maps["mean"][0].ravel())
        stopping.set()
        watching.join(_WAIT_S)
        assert not watching.is_alive()


def shown(screen: Screen, t: int) -> Callable[[], bool]:
    return lambda: any(f"t={t} " in title and "not for intensity" in title for title in screen.images())


def tries_again_where_nothing_answers(folder: Path) -> None:
    with closing(StackWindows(1, folder)) as windows:
        windows.begin()
        assert not list(folder.glob("channel-*")), "nothing listens on this port"
