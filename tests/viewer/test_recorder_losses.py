"""What memory forgets before the store has it, a disk that fills, a daemon that dies: nothing is missing in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon import runs
from tests.viewer.test_recorder import Recordings, assert_same

pytestmark = pytest.mark.slow


def test_what_memory_cannot_keep_waits_for_the_store(tmp_path: Path) -> None:
    """A daemon that restores after the acquisition is faster than its store, and keeps nothing in memory."""
    runs.movie(tmp_path / "movie.tif", times=30)
    settings = runs.config(
        tmp_path, runs.replay(tmp_path / "movie.tif"), restore={"policy": "defer"}, publish={"replay_mib": 0}
    )
    recording: list[Recordings] = []
    runs.run(settings, meanwhile=lambda _: recording.append(Recordings(settings.publish.bind_pull, tmp_path / "copy")))
    recording[0].join(40)
    result = recording[0].result
    assert (result.n_raw, result.n_restored, result.gaps) == (30, 30, [])
    assert_same(tmp_path / "copy" / "test", tmp_path / "runs" / "test")
