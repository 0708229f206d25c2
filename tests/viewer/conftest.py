"""A browser for each file of tests, and a page with three volumes in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from care_live.viewer.volume_index import Library
from tests.make.scenes import filled, scene, serving

from .browser import Screen, chromium


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as window:
        yield window


@pytest.fixture
def library() -> Library:
    return filled(*(scene(t, ensemble=True) for t in range(3)))


@pytest.fixture
def screen(window: Any, library: Library) -> Iterator[Screen]:
    with serving(library) as (_, address):
        screen = Screen(window, address)
        screen.look(gamma=1)
        yield screen
        errors = screen.errors()
        window.get("about:blank")
    assert not errors
