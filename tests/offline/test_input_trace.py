"""An input that changes in place between two commands is noticed; one that was only copied goes on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import care_live
from care_live.errors import SourceError
from care_live.offline.input_trace import trace
from tests.make.networks import noisy
from tests.make.plates import write_plate
from tests.offline.results import SETTINGS, files, interrupt_after

N_FIELDS = 4


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    fields = np.stack([noisy((3, 16, 18), seed=number) for number in range(N_FIELDS)])
    write_plate(str(tmp_path / "plate.zarr"), ["A/1"], fields)
    return tmp_path / "plate.zarr"


def change(plate: Path, field: int) -> None:
    zarr.open_array(plate / f"A/1/{field}/0", mode="r+")[0, 0, 0] += 1


@pytest.fixture(params=[True, False], ids=["raw is kept", "raw is not kept"])
def options(
    request: pytest.FixtureRequest, plate: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Return the options of a command that was interrupted after two time points; its result is in ``out``."""
    chosen = {"model": model, "keep_raw": request.param, **SETTINGS}
    interrupt_after(2, monkeypatch, plate, tmp_path / "out", **chosen)
    return chosen


def test_pixels_that_changed_in_place_end_in_no_mixture(plate: Path, options: dict[str, Any], tmp_path: Path) -> None:
    change(plate, 1)
    with pytest.raises(SourceError, match=r"has changed since .* at 1 time points .*t=0, position 1"):
        care_live.restore(plate, tmp_path / "out", **options)


def test_files_with_the_same_pixels_go_on(plate: Path, options: dict[str, Any], tmp_path: Path) -> None:
    for file in plate.rglob("zarr.json"):
        os.utime(file, (1, 1))
    change(plate, N_FIELDS - 1)  # which is not restored yet
    report = care_live.restore(plate, tmp_path / "out", **options)
    assert (report.n_before, report.n_restored, report.problems) == (2, N_FIELDS - 2, [])
    care_live.restore(plate, tmp_path / "straight", **options)
    assert files(tmp_path / "out") == files(tmp_path / "straight")


def test_a_result_of_an_older_version_goes_on(
    plate: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr("care_live.offline.archive.trace", lambda source: None)
        interrupt_after(2, older, plate, tmp_path / "out", model=model, **SETTINGS)
    change(plate, 1)
    assert care_live.restore(plate, tmp_path / "out", model=model, **SETTINGS).n_restored == N_FIELDS - 2


def test_a_trace_tells_each_change_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "b"
    file.write_bytes(b"1")
    found = {trace(tmp_path)}
    assert {trace(tmp_path)} == found
    os.utime(file, (1, 1))
    found.add(trace(tmp_path))
    file.rename(tmp_path / "a" / "c")
    found.add(trace(tmp_path))
    (tmp_path / "d").write_bytes(b"")
    found.add(trace(tmp_path))
    assert len(found) == 4
    assert trace(tmp_path / "d") != trace(tmp_path / "a" / "c")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows makes links for administrators only")
def test_a_change_behind_links_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "there/wells").mkdir(parents=True)
    (tmp_path / "there/wells/0").write_bytes(b"1")
    (tmp_path / "there/zarr.json").write_bytes(b"{}")
    (tmp_path / "linked").mkdir()
    for name, target in {"wells": "wells", "zarr.json": "zarr.json", "gone": "nothing"}.items():
        (tmp_path / "linked" / name).symlink_to(tmp_path / "there" / target)
    (tmp_path / "there/wells/circle").symlink_to(tmp_path / "linked")
    found = {trace(tmp_path / "linked")}
    assert {trace(tmp_path / "linked")} == found
    for name in ("wells/0", "zarr.json"):
        (tmp_path / "there" / name).write_bytes(b"other")
        found.add(trace(tmp_path / "linked"))
    assert len(found) == 3


def test_a_store_at_an_address_is_listed(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'care-live[s3]'")
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/traced/a.zarr/zarr.json", b"{}")
    before = trace("memory://traced/a.zarr")
    memory.pipe_file("/traced/a.zarr/0/c/0", b"1")
    assert before is not None and trace("memory://traced/a.zarr") != before
    assert trace("nothing://traced/a.zarr") is None
