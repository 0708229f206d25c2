"""Raw volumes that no line of the journal acknowledges are kept, and can be read."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import zarr

from care_live.cli import main
from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.store import RunReader, verify
from tests.make.stored import SHAPE, make_pixels, make_plan, make_restored, make_volume, open_writer

N_VOLUMES = 3


@pytest.fixture
def run(tmp_path):
    writer = open_writer(tmp_path)
    for t in range(N_VOLUMES):
        writer.write_raw(make_volume(VolumeKey(t)))
        writer.write_restored(make_restored(make_volume(VolumeKey(t))))
    writer.close()
    return tmp_path / "run"


def snapshot(run: Path) -> dict[str, bytes]:
    """Return every file but the lock, in which each writer writes its name."""
    files = (path for path in run.rglob("*") if path.is_file() and path.name != "writer.lock")
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


def raw_shards(files: dict[str, bytes]) -> list[bytes]:
    return sorted(data for name, data in files.items() if "raw/" in name and "/c/" in name)


def keep_lines(run: Path, n: int) -> None:
    """Forget the last lines of a journal, as when an older copy of it was put back."""
    journal = run / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:n]))


@pytest.mark.parametrize("left", [None, b"", b'{"crc32c":"0123'], ids=["missing", "empty", "torn"])
def test_raw_without_a_beginning_is_refused_and_nothing_is_changed(run, left):
    journal = run / "journal.jsonl"
    journal.unlink() if left is None else journal.write_bytes(left)
    before = snapshot(run)
    with pytest.raises(StoreError, match=r"holds 3 raw volumes, but its journal .*can be read: zarr.open_array"):
        open_writer(run.parent)
    assert snapshot(run) == before


@pytest.mark.parametrize("n_lines", range(1, 2 * N_VOLUMES + 1))
def test_whatever_the_journal_forgot_no_raw_volume_is_lost(run, n_lines):
    before = raw_shards(snapshot(run))
    keep_lines(run, n_lines)
    open_writer(run.parent).close()
    assert raw_shards(snapshot(run)) == before
    assert verify(run).clean
    kept = {key.t for key in RunReader(run).keys("raw")}
    aside = zarr.open_array(run / "quarantine/1/raw/0/0", mode="r") if len(kept) < N_VOLUMES else None
    for t in set(range(N_VOLUMES)) - kept:
        np.testing.assert_array_equal(aside[t, 0], make_pixels(VolumeKey(t)))


def test_what_is_set_aside_a_second_time_goes_to_another_folder(run):
    keep_lines(run, 5)
    writer = open_writer(run.parent)
    assert [path.relative_to(run).as_posix() for path in writer.set_aside] == ["raw/0/0/c/2/0/0/0/0"]
    other = make_volume(VolumeKey(2), pixels=np.full(SHAPE, 7, np.uint16))
    writer.write_raw(other)  # exposed once more
    writer.close()
    keep_lines(run, 6)
    open_writer(run.parent).close()
    first, second = (zarr.open_array(run / f"quarantine/{n}/raw/0/0", mode="r")[2, 0] for n in (1, 2))
    np.testing.assert_array_equal(first, make_pixels(VolumeKey(2)))
    np.testing.assert_array_equal(second, other.pixels)


def test_half_written_raw_is_set_aside_and_half_written_restored_is_deleted(run):
    raw = run / "raw/0/0/c/7/0/0/0/0.3f2a.partial"
    restored = run / "restored/0/0/c/7/0/0/0/0.3f2a.partial"
    metadata = run / "raw/0/zarr.json.partial"
    for path in (raw, restored, metadata):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    open_writer(run.parent).close()
    assert (run / "quarantine/1/raw/0/0/c/7/0/0/0/0.3f2a.partial").read_bytes() == b"half"
    assert not any(path.exists() for path in (raw, restored, metadata))
    assert verify(run).clean
    open_writer(run.parent).close()  # what lies in the quarantine stays there
    assert sorted(path.name for path in (run / "quarantine").iterdir()) == ["1"]


def test_restored_that_no_line_acknowledges_is_deleted_since_it_can_be_made_again(run):
    keep_lines(run, 6)
    assert (run / "restored/0/0/c/2/0/0/0/0").is_file()
    writer = open_writer(run.parent)
    assert not (run / "restored/0/0/c/2/0/0/0/0").exists()
    assert writer.raw_only() == [VolumeKey(2)]
    writer.close()


def test_raw_is_set_aside_although_its_arrays_metadata_is_lost_or_too_small(run):
    array = run / "raw/0/0/zarr.json"
    metadata = json.loads(array.read_bytes())
    metadata["shape"][0] = 1
    array.write_text(json.dumps(metadata))
    keep_lines(run, 3)
    open_writer(run.parent).close()
    np.testing.assert_array_equal(
        zarr.open_array(run / "quarantine/1/raw/0/0", mode="r")[2, 0], make_pixels(VolumeKey(2))
    )
    array.unlink()
    keep_lines(run, 1)
    open_writer(run.parent).close()
    assert (run / "quarantine/2/raw/0/0/c/0/0/0/0/0").is_file()


def test_the_writer_and_verify_say_what_was_set_aside_and_how_it_is_read(run, caplog, capsys):
    keep_lines(run, 5)
    before = verify(run)
    assert [(one.kind, one.where) for one in before.problems][:1] == [("orphan", "raw/0/0/c/2/0/0/0/0")]
    assert "sets it aside" in before.problems[0].detail
    with caplog.at_level(logging.WARNING):
        open_writer(run.parent).close()
    assert "raw set aside run=run files=1" in caplog.text
    main(["verify", str(run)])  # exit code 0: nothing that was acknowledged is wrong
    printed = capsys.readouterr().out
    assert "quarantine quarantine/1/raw/0/0/c/2/0/0/0/0" in printed
    assert "zarr.open_array(" in printed and "quarantine/1/raw/POSITION/0')[t, c]" in printed
    assert "1 raw files in quarantine: clean" in printed


def test_verify_says_that_raw_without_a_journal_can_be_read(run, capsys):
    (run / "journal.jsonl").unlink()
    with pytest.raises(SystemExit):
        main(["verify", str(run)])
    assert "has no journal.jsonl; the 3 raw volumes in it can be read: zarr.open_array" in capsys.readouterr().err


def test_a_shard_that_appears_where_a_volume_belongs_is_set_aside(tmp_path):
    writer = open_writer(tmp_path, make_plan(n_t=2))
    writer.write_raw(make_volume(VolumeKey(0)))
    stranger = tmp_path / "run/raw/0/0/c/1/0/0/0/0"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"from elsewhere")
    writer.write_raw(make_volume(VolumeKey(1)))
    writer.close()
    assert (tmp_path / "run/quarantine/1/raw/0/0/c/1/0/0/0/0").read_bytes() == b"from elsewhere"
    assert verify(tmp_path / "run").clean
    np.testing.assert_array_equal(RunReader(tmp_path / "run").read("raw", VolumeKey(1)), make_pixels(VolumeKey(1)))
