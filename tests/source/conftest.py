"""A source that waits for a tap, and the window of a real Micro-Manager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from care_live.config import RemoteConfig, StudioConfig
from care_live.source.java_bridge import JavaBridge
from care_live.source.remote import Remote
from care_live.source.studio import StudioSource
from care_live.source.studio_acquisitions import NamesAcquisitions
from tests.source.java_program import java_program
from tests.source.window_driver import WindowDriver
from tests.source.window_runs import Came


@pytest.fixture
def remote() -> Iterator[Remote]:
    opened = Remote(RemoteConfig(bind="tcp://127.0.0.1:0"), run_id="run")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def window_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a Micro-Manager that all tests of a file share."""
    with java_program("window", tmp_path_factory.mktemp("micro-manager")) as port:
        yield port


@pytest.fixture
def driver(window_port: int) -> Iterator[WindowDriver]:
    """A window in which nothing runs: an acquisition of the test before, all there but not ended, would come again."""
    with closing(WindowDriver(window_port)) as found:
        assert found.is_idle()
        found.camera(128)
        yield found


@pytest.fixture
def run(window_port: int) -> Iterator[Came]:
    """The next acquisition."""
    with closing(StudioSource(StudioConfig(port=window_port), run_id="run")) as source:
        assert source.seen.wait(60)
        yield Came(source)


@pytest.fixture
def bridge(window_port: int) -> Iterator[JavaBridge]:
    """One client more; it looks for acquisitions only when a test wants it to."""
    with closing(JavaBridge(window_port, answer_s=60.0)) as bridge:
        yield bridge


@pytest.fixture
def at(bridge: JavaBridge) -> NamesAcquisitions:
    studio = bridge.open()
    return NamesAcquisitions(bridge.get(studio, "getAcquisitionEngine"), bridge.get(studio, "displays"))
