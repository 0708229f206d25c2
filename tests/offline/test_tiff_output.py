"""Recordings restored into OME-TIFFs."""

from __future__ import annotations

from pathlib import Path

import tifffile

import care_live
from tests.offline.results import N_TIMES, SETTINGS


def test_several_results_may_be_tiffs(data: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for n_before in (0, 7):
        report = care_live.restore(data, output, model=model, as_tiff=True, **SETTINGS)
        assert (report.n_before, report.problems) == (n_before, [])
    found = sorted(path.relative_to(output).as_posix() for path in output.rglob("*.tif"))
    assert found == [f"{name}.ome.tif" for name in sorted(N_TIMES)]
    assert tifffile.imread(output / "three.ome.tif").shape == (2, 2, 3, 16, 18)
    assert not list(output.rglob(".*"))
