"""A dry run says what an archive will take, and writes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import care_live
from care_live.offline import estimate, open_network
from care_live.offline.data_sets import plan_archive
from tests.offline.results import SETTINGS, interrupt_after


@pytest.mark.parametrize("as_tiff", [False, True], ids=["runs", "TIFFs"])
def test_a_dry_run_of_an_interrupted_archive_says_how_many_are_done(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_tiff: bool
) -> None:
    network = open_network(model, provider="cpu", threads=1)
    plan = plan_archive([data], tmp_path / "out", axes=None, keep_raw=True, as_tiff=as_tiff)
    whole = estimate(plan, network)
    assert whole.n_before == 0 and whole.lines()[0] == "3 data sets, 7 time points"
    interrupt_after(4, monkeypatch, data, tmp_path / "out", model=model, as_tiff=as_tiff, **SETTINGS)
    left = estimate(plan, network)
    assert left.lines()[0] == "3 data sets, 7 time points, 4 of which are restored already"
    assert 0 < left.n_bytes < whole.n_bytes
    care_live.restore(data, tmp_path / "out", model=model, as_tiff=as_tiff, **SETTINGS)
    done = estimate(plan, network)
    assert (done.n_before, done.seconds, done.n_bytes) == (7, 0.0, 0)


def test_a_dry_run_says_units_time_and_disk_and_writes_nothing(
    copied: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from care_live.cli import main

    (copied / "flat.tif").write_bytes(b"no image")
    with pytest.raises(SystemExit, match="1"):
        main(["restore", str(copied), str(tmp_path / "out"), "--model", str(model), "--provider", "cpu", "--dry-run"])
    said = capsys.readouterr().out
    assert re.match(r"4 data sets, 7 time points\nabout \d+ s on this machine", said)
    assert "MiB are free" in said
    assert f"cannot be opened: {copied / 'flat.tif'}" in said
    assert not (tmp_path / "out").exists()
