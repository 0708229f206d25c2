"""A browser for each file of tests, and a page with three volumes in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from care_live.images import Integrity, NotRestored, RunEnded, VolumeKey
from care_live.viewer.volume_index import VolumeIndex
from tests.make.reported_run import CAME, PLANES, WRONG
from tests.make.scenes import filled, scene, serving
from tests.make.stored import make_plan, make_restored, make_volume, open_writer

from .browser import Screen, chromium


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as window:
        yield window


@pytest.fixture
def index() -> VolumeIndex:
    return filled(*(scene(t, ensemble=True) for t in range(3)))


@pytest.fixture
def screen(window: Any, index: VolumeIndex) -> Iterator[Screen]:
    with serving(index) as (_, address):
        screen = Screen(window, address)
        screen.look(gamma=1)
        yield screen
        errors = screen.errors()
        window.get("about:blank")
    assert not errors


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four volumes are planned: one is whole, one lost two planes, one was skipped, one never came."""
    with contextlib.closing(open_writer(tmp_path, make_plan(n_t=4))) as writer:
        volumes = [make_volume(VolumeKey(t), integrity=Integrity(PLANES, came)) for t, came in enumerate(CAME)]
        for volume in volumes:
            writer.write_raw(volume)
        writer.write_restored(make_restored(volumes[0], trust=WRONG), age_s=1.5)
        writer.note(NotRestored(VolumeKey(2), "skipped", "slow <b>network</b>"))
        writer.note(RunEnded("aborted", "somebody pressed <script>stop</script>", 3, 0))
    return tmp_path / "run"


@pytest.fixture
def viewer() -> Any:
    """napari's viewer, real but for its window."""
    pytest.importorskip("napari")
    from napari.components import ViewerModel

    return ViewerModel()
