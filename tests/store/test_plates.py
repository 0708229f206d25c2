"""A plate stays a plate: same wells, fields and names, valid as OME-Zarr, recoverable as any run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaozarrs

from care_live.config import StoreConfig
from care_live.images import RunEnded, RunStarted, VolumeKey
from care_live.recorded import open_recording
from care_live.store import STORED_PRODUCTS, RunReader, RunWriter, open_run, verify
from tests.make.stored import make_plan, make_restored, make_volume

FIELDS = ("A/1/0", "A/1/1", "B/12/0")
PLATE = {
    "name": "screen",
    "rows": [{"name": "A"}, {"name": "B"}],
    "columns": [{"name": "1"}, {"name": "12"}],
    "acquisitions": [{"id": 0}, {"id": 1}],
    "acquisition_of": {"A/1/0": 0, "A/1/1": 1, "B/12/0": 0},
}


def open_plate(folder: Path, positions: tuple[str, ...] = FIELDS) -> RunWriter:
    plan = replace(make_plan(n_t=1, n_p=len(positions)), positions=positions)
    return open_run(StoreConfig(directory=folder), RunStarted("run", plan, {"plate": PLATE}))


def write(folder: Path, *, n: int = 3) -> Path:
    writer = open_plate(folder)
    for p in range(n):
        volume = make_volume(VolumeKey(0, p))
        writer.write_raw(volume)
        writer.write_restored(make_restored(volume))
    writer.note(RunEnded("finished"))
    writer.close()
    return writer.path


def test_a_plate_is_valid_with_its_wells_fields_and_names(tmp_path: Path) -> None:
    run = write(tmp_path)
    for product in STORED_PRODUCTS:
        yaozarrs.validate_zarr_store(str(run / product))
        plate = json.loads((run / product / "zarr.json").read_bytes())["attributes"]["ome"]["plate"]
        assert [well["path"] for well in plate["wells"]] == ["A/1", "B/12"]
        assert {key: plate[key] for key in ("name", "rows", "columns")} == {
            key: PLATE[key] for key in ("name", "rows", "columns")
        }
        well = json.loads((run / product / "A/1/zarr.json").read_bytes())["attributes"]["ome"]["well"]
        assert well["images"] == [{"path": "0", "acquisition": 0}, {"path": "1", "acquisition": 1}]
    assert verify(run).clean
    reader = RunReader(run)
    for p in range(3):
        assert (reader.read("raw", VolumeKey(0, p)) == make_volume(VolumeKey(0, p)).pixels).all()


def test_wells_without_an_image_are_not_listed(tmp_path: Path) -> None:
    run = write(tmp_path, n=1)
    yaozarrs.validate_zarr_store(str(run / "restored"))
    plate = json.loads((run / "restored/zarr.json").read_bytes())["attributes"]["ome"]["plate"]
    assert [well["path"] for well in plate["wells"]] == ["A/1"]


def test_what_a_crash_left_of_a_plate_is_set_aside_and_deleted(tmp_path: Path) -> None:
    run = write(tmp_path)
    journal = run / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]))  # the first field alone is acknowledged
    assert sum(problem.kind == "orphan" for problem in verify(run).problems) == 2 * len(STORED_PRODUCTS)
    writer = open_plate(tmp_path)
    assert sorted(path.relative_to(run).as_posix() for path in writer.set_aside) == [
        "raw/A/1/1/0/c/0/0/0/0/0",
        "raw/B/12/0/0/c/0/0/0/0/0",
    ]
    writer.close()
    assert (run / "quarantine/1/raw/B/12/0/0/c/0/0/0/0/0").is_file()
    report = verify(run)
    assert report.clean
    assert sum(one.kind == "quarantine" for one in report.beside) == 2


@pytest.mark.parametrize(
    "positions",
    [("A/1/0", "../../x/0"), ("A/1/0", "a/1/0"), ("A/1/0", "A/1/c"), ("A", "B")],
    ids=["outside", "same-on-some-disks", "no-number", "no-fields"],
)
def test_names_that_are_no_fields_lie_in_numbered_folders(tmp_path: Path, positions: tuple[str, ...]) -> None:
    writer = open_plate(tmp_path, positions)
    for p in range(2):
        writer.write_raw(make_volume(VolumeKey(0, p)))
    writer.close()
    assert sorted(path.parent.name for path in (writer.path / "raw").glob("*/zarr.json")) == ["0", "1"]
    assert verify(writer.path).clean


def test_a_plate_of_ours_is_read_again_as_one(tmp_path: Path) -> None:
    recording = open_recording(write(tmp_path))
    assert recording.contents.plan.positions == FIELDS
    assert recording.contents.summary["plate"] == PLATE
    for index in recording.contents.order:
        wanted = make_volume(VolumeKey(0, index.p)).pixels[index.z]
        assert (recording.read_plane(index) == wanted).all()
    recording.close()
