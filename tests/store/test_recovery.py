"""What a writer does with a run that another one left, and who may write at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from care_live.errors import StoreError
from care_live.images import NotRestored, RunEnded, VolumeKey
from care_live.recorded.journal_lines import scan
from care_live.recorded.run_records import RawStored, from_json
from care_live.store import RunReader, verify
from care_live.store.quarantine import lying_in
from tests.make.stored import make_pixels, make_plan, make_restored, make_volume, only_mean, open_writer


def test_a_restart_goes_on_and_knows_what_is_raw_only(tmp_path):
    first = open_writer(tmp_path)
    for t in range(2):
        first.write_raw(make_volume(VolumeKey(t)))
    first.write_restored(make_restored(make_volume(VolumeKey(0))))
    first.note(NotRestored(VolumeKey(1), "failed", "inference hung"))
    first.note(RunEnded("aborted"))
    first.close()
    second = open_writer(tmp_path)
    assert second.raw_keys() == [VolumeKey(0), VolumeKey(1)]
    assert second.raw_only() == [VolumeKey(1)]
    assert second.not_restored()[VolumeKey(1)].reason == "failed"
    second.write_raw(make_volume(VolumeKey(2)))
    second.write_restored(make_restored(RunReader(second.path).read_raw(VolumeKey(1))))
    assert second.raw_only() == [VolumeKey(2)]
    assert second.not_restored() == {}
    second.close()
    reader = RunReader(tmp_path / "run")
    assert len(reader.keys("raw")) == 3
    assert reader.ended is None
    assert verify(tmp_path / "run").clean


def test_what_was_provisional_when_the_daemon_stopped_is_suspect(tmp_path):
    first = open_writer(tmp_path)
    first.write_raw(make_volume(VolumeKey(0), state="provisional"))
    first.write_raw(make_volume(VolumeKey(1), state="confirmed"))
    first.close()
    second = open_writer(tmp_path)
    assert RunReader(second.path).read_raw(VolumeKey(0)).state == "suspect"
    assert RunReader(second.path).read_raw(VolumeKey(1)).state == "confirmed"
    second.close()


def test_leftovers_of_a_crash_are_found_by_verify_and_swept_on_start(tmp_path):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(0)))
    writer.close()
    run = tmp_path / "run"
    orphan = run / "raw/0/0/c/5/0/0/0/0"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"never acknowledged")
    partial = run / "raw/0/0/c/0/0/0/0/0.3f2a.partial"
    partial.write_bytes(b"half")
    with (run / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"crc32c":"0123')
    assert sorted(problem.kind for problem in verify(run).problems) == ["journal", "orphan", "partial"]
    open_writer(tmp_path).close()
    assert not orphan.exists() and not partial.exists()
    assert verify(run).clean
    assert RunReader(run).keys("raw") == [VolumeKey(0)]


def test_metadata_lost_between_array_and_group_is_written_anew(tmp_path):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(0)))
    writer.close()
    (tmp_path / "run/raw/0/zarr.json").unlink()
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(1)))
    writer.close()
    assert (tmp_path / "run/raw/0/zarr.json").exists()
    assert verify(tmp_path / "run").clean


def test_volumes_outlive_the_loss_of_their_arrays_metadata(tmp_path):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(0)))
    writer.close()
    (tmp_path / "run/raw/0/0/zarr.json").unlink()
    assert "missing" in {problem.kind for problem in verify(tmp_path / "run").problems}
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(1)))
    writer.close()
    assert verify(tmp_path / "run").clean
    assert len(RunReader(tmp_path / "run").keys("raw")) == 2


def test_a_journal_that_is_cut_at_a_line_goes_on_with_all_that_the_lines_before_acknowledge(tmp_path):
    shape = (1, 6, 6)
    plan = make_plan(n_t=2, n_c=2, shape=shape)
    writer = open_writer(tmp_path / "sound", plan)
    for key in sorted(plan.stacks):
        writer.write_raw(volume := make_volume(key, shape))
        for _ in range(2 - key.c):  # the second replaces the first
            writer.write_restored(only_mean(make_restored(volume)))
    writer.note(RunEnded("aborted"))
    writer.close()
    lines = (tmp_path / "sound/run/journal.jsonl").read_bytes().splitlines(keepends=True)
    for n in range(1, len(lines) + 1):
        run = shutil.copytree(tmp_path / "sound", tmp_path / str(n)) / "run"
        (run / "journal.jsonl").write_bytes(kept := b"".join(lines[:n]))
        records = map(from_json, scan(kept).records)
        acknowledged = {record.key for record in records if isinstance(record, RawStored)}
        writer = open_writer(run.parent, plan)
        assert set(writer.raw_keys()) == acknowledged, f"cut behind line {n}"
        assert len(lying_in(run)) == len(plan.stacks) - len(acknowledged)
        for key in plan.stacks.keys() - acknowledged:
            writer.write_raw(make_volume(key, shape))
        writer.close()
        reader = RunReader(run)
        for key in plan.stacks:
            np.testing.assert_array_equal(reader.read("raw", key), make_pixels(key, shape))
        assert verify(run).clean


def test_another_acquisition_may_not_go_on_in_this_run(tmp_path):
    open_writer(tmp_path).close()
    with pytest.raises(StoreError, match=r"begun with shape_px \(20, 24\), now \(40, 24\) comes; use another run_id"):
        open_writer(tmp_path, make_plan(shape=(3, 40, 24)))
    open_writer(tmp_path, make_plan(n_t=9)).close()  # more time points of the same are welcome


def test_a_journal_damaged_in_the_middle_is_read_but_not_continued(tmp_path):
    writer = open_writer(tmp_path)
    for t in range(3):
        writer.write_raw(make_volume(VolumeKey(t)))
    writer.close()
    journal = tmp_path / "run/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"raw", b"rax")
    journal.write_bytes(b"".join(lines))
    with pytest.raises(StoreError, match="damaged at line 3; the run can be read but not continued"):
        open_writer(tmp_path)
    assert RunReader(tmp_path / "run").keys("raw") == [VolumeKey(0), VolumeKey(2)]
    assert "journal" in {problem.kind for problem in verify(tmp_path / "run").problems}


@pytest.mark.slow
def test_a_second_writer_is_refused_and_learns_which_one_is_at_work(tmp_path):
    writer = open_writer(tmp_path)
    with pytest.raises(StoreError, match=r"is being written by process \d+"):
        open_writer(tmp_path)
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "tests.store.child_writer", str(tmp_path)]
    other = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert other.returncode == 1
    assert "is being written by process" in other.stderr
    assert verify(tmp_path / "run").being_written
    writer.close()
    open_writer(tmp_path).close()
    assert not verify(tmp_path / "run").being_written


def test_a_lock_file_without_a_holder_is_taken_over(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/writer.lock").write_text("process 1\n")
    open_writer(tmp_path).close()


def test_a_folder_that_is_no_run_is_refused_by_readers(tmp_path):
    with pytest.raises(StoreError, match="is not a run of care_live"):
        RunReader(tmp_path)
    with pytest.raises(StoreError, match="is not a run of care_live"):
        verify(tmp_path)


@pytest.mark.parametrize(
    "name", ["raw/0 - Copy", "raw/01", "raw/x", "restored/0 (1)", "raw/0/0/c/0 - Copy", "raw/0/0/c/0/0 - Copy"]
)
def test_folders_with_foreign_names_are_named_and_left_alone(tmp_path, name):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(0)))
    writer.write_restored(make_restored(make_volume(VolumeKey(0))))
    writer.close()
    run, foreign = tmp_path / "run", tmp_path / "run" / name
    shutil.copytree(foreign.parent / "0", foreign)
    before = sorted(foreign.rglob("*"))
    report = verify(run)
    assert (report.clean, [(one.kind, one.where) for one in report.beside]) == (True, [("foreign", name)])
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(1)))
    writer.close()
    assert sorted(foreign.rglob("*")) == before
    assert RunReader(run).keys("raw") == [VolumeKey(0), VolumeKey(1)]
