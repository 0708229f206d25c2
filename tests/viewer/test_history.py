"""A run directory, read while it is written."""

from __future__ import annotations

import numpy as np

from care_live.config import StoreConfig
from care_live.images import StateChanged, VolumeKey
from care_live.store import open_run
from care_live.viewer.history import History
from tests.make.scenes import STARTED, restored
from tests.make.waiting import until


def test_a_run_is_read_while_it_is_written(tmp_path):
    config = StoreConfig(directory=tmp_path, keep_free_mib=0)
    history = History(tmp_path / "run-1")
    assert not history.known(), "not there yet"
    writer = open_run(config, STARTED)
    try:
        writer.write_raw(restored(0).volume)
        until(lambda: history.known() == {VolumeKey(0)})
        assert history.get(VolumeKey(0)).maps == {}
        writer.write_restored(restored(0))
        until(lambda: "mean" in history.get(VolumeKey(0)).maps)
        shown = history.get(VolumeKey(0))
        assert (shown.raw == restored(0).volume.pixels).all() and shown.model.name == "worm3d"
        assert np.abs(shown.maps["mean"] / restored(0).mean - 1).max() < 2**-10
        assert history.get(VolumeKey(0)) is shown, "read once"
        writer.note(StateChanged(VolumeKey(0), "confirmed"))
        until(lambda: history.get(VolumeKey(0)).state == "confirmed")
        assert history.get(VolumeKey(7)) is None
    finally:
        writer.close()


def test_a_run_that_cannot_be_read_says_why(tmp_path):
    folder = tmp_path / "run-1"
    folder.mkdir()
    history = History(folder)
    assert not history.known() and not history.problem, "no journal: not there yet"
    (folder / "journal.jsonl").touch()
    waiting = History(folder)
    assert not waiting.known() and not waiting.problem, "a daemon waits for its first frame"
    (folder / "journal.jsonl").write_text("rubbish\n")
    until(lambda: not history.known() and "run-1" in history.problem)
