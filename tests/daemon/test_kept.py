"""Runs, cards and networks that an earlier version wrote stay usable."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.daemon.run import Daemon
from care_live.store import RunReader
from tests.make import runs
from tests.store.kept import FINISHED, INTERRUPTED, MOVIE, NETWORK


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the earlier version's network and recording; the run names the recording as it lies here."""
    shutil.copy(NETWORK, tmp_path / "tiny.onnx")
    shutil.copy(MOVIE, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("run", [FINISHED, INTERRUPTED], ids=["finished", "interrupted"])
def test_a_kept_run_opens_and_verifies(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "finished")
    reader, movie = RunReader(tmp_path / "finished"), tifffile.imread(MOVIE)
    for key in reader.keys("raw"):
        np.testing.assert_array_equal(reader.read("raw", key), movie[key.t])
        assert np.isfinite(reader.read("restored", key)).all()
    verified = runs.command("verify", tmp_path / "finished", cwd=tmp_path)
    assert verified.returncode == 0, verified.stderr
    assert "clean" in verified.stdout


def test_a_kept_run_goes_on_where_it_was_cut(recorded: Path) -> None:
    shutil.copytree(INTERRUPTED, recorded / "runs" / "finished")
    before = RunReader(recorded / "runs" / "finished").read("raw", next(iter(RunReader(INTERRUPTED).keys("raw"))))
    status = Daemon(runs.config(recorded, runs.replay(Path(MOVIE.name))), "finished").run()
    reader, movie = RunReader(recorded / "runs" / "finished"), tifffile.imread(MOVIE)
    assert (status.stored_raw, status.lost_planes) == (2, 0)
    assert len(reader.keys("raw")) == len(reader.keys("restored")) == len(movie) == 4
    np.testing.assert_array_equal(before, movie[0])
    kept = RunReader(FINISHED)
    for key in reader.keys("restored"):
        ours, theirs = reader.read("restored", key), kept.read("restored", key)
        assert np.abs(ours - theirs).max() <= 2e-3 * np.ptp(theirs)  # both keep 10 bits of mantissa


def test_a_kept_network_restores(recorded: Path) -> None:
    asked = ("--model", "tiny.onnx", "--axes", "TZYX", "--threads", "1")
    restored = runs.command("restore", MOVIE.name, "out", *asked, cwd=recorded)
    assert restored.returncode == 0, restored.stderr
