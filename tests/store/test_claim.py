"""Who may write a run: one writer, of the same acquisition, and only where the run has not finished."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import RunEnded, RunStarted, VolumeKey
from care_live.recorded.journal_lines import encode
from care_live.store import RunReader, claim_run, open_run, verify
from tests.make.stored import make_plan, make_restored, make_volume, open_writer

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not delete a file that is open")


def claim(folder: Path, run_id: str = "run", **options):
    return claim_run(StoreConfig(directory=folder), run_id, **options)


def recorded(folder: Path, reason: str | None = None) -> Path:
    """Write a run of one volume and end it."""
    writer = open_writer(folder)
    writer.write_raw(make_volume())
    if reason:
        writer.note(RunEnded(reason))
    writer.close()
    return folder / "run"


def test_a_run_that_has_finished_is_refused_unless_asked_for(tmp_path):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume())
    writer.write_restored(make_restored(make_volume()))
    writer.note(RunEnded("finished"))
    writer.close()
    run = tmp_path / "run"
    before = (run / "journal.jsonl").read_bytes()
    with pytest.raises(StoreError, match=r"has finished: 1 raw volumes are stored, 0 of them not restored; .*--resume"):
        open_writer(tmp_path)
    assert (run / "journal.jsonl").read_bytes() == before
    claim(tmp_path, resume=True).close()
    open_run(StoreConfig(directory=tmp_path), RunStarted("run", make_plan(), {}), resume=True).close()


def test_a_run_whose_daemon_was_killed_while_it_restored_the_rest_goes_on(tmp_path):
    recorded(tmp_path, "finished")  # a raw volume waits
    writer = open_writer(tmp_path)
    writer.write_restored(make_restored(make_volume()))
    writer.note(RunEnded("finished"))
    writer.close()
    with pytest.raises(StoreError, match="0 of them not restored"):
        open_writer(tmp_path)


def test_a_run_from_which_volumes_were_left_out_is_complete_when_its_writer_says_so(tmp_path):
    recorded(tmp_path, "finished")
    writer = open_writer(tmp_path)
    writer.note(RunEnded("finished", n_delivered=3))
    writer.complete()
    writer.close()
    ended = RunReader(tmp_path / "run").ended
    assert (ended.is_complete, ended.n_delivered) == (True, 3)
    with pytest.raises(StoreError, match="1 of them not restored"):
        open_writer(tmp_path)


def test_the_end_of_an_older_run_says_nothing_of_restoring_and_is_its_end(tmp_path):
    run = recorded(tmp_path, "finished")
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    old = json.loads(lines[-1])["record"]
    assert old.pop("restoring") is True
    (run / "journal.jsonl").write_bytes(b"".join(lines[:-1]) + encode(json.dumps(old).encode()))
    with pytest.raises(StoreError, match="has finished"):
        open_writer(tmp_path)


@pytest.mark.parametrize("reason", [None, "aborted", "failed", "stalled"])
def test_a_run_that_was_interrupted_goes_on(tmp_path, reason):
    recorded(tmp_path, reason)
    writer = open_writer(tmp_path)
    assert writer.raw_keys() == [VolumeKey(0)]
    writer.close()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a.b", "a b", "x" * 65, "run\n", "ü", "."])
def test_a_name_that_leads_out_of_the_store_or_that_no_message_carries_is_refused(tmp_path, name):
    with pytest.raises(StoreError, match="is invalid: wanted 1 to 64 characters"):
        claim(tmp_path / "runs", name)
    assert not list(tmp_path.iterdir())


def test_a_claim_that_was_not_used_leaves_nothing(tmp_path):
    claim(tmp_path).close()
    assert not list(tmp_path.iterdir())
    recorded(tmp_path)
    claim(tmp_path).close()
    assert RunReader(tmp_path / "run").keys("raw") == [VolumeKey(0)]


def test_a_claim_becomes_a_writer(tmp_path):
    held = claim(tmp_path)
    with pytest.raises(StoreError, match="is being written by"):
        open_writer(tmp_path)
    open_run(StoreConfig(directory=tmp_path), RunStarted("run", make_plan(), {}), claim=held).close()
    open_writer(tmp_path).close()


@posix_only
@pytest.mark.parametrize(
    "doomed", [["writer.lock"], ["writer.lock", "journal.jsonl"]], ids=["lock", "lock and journal"]
)
def test_deleting_the_lock_lets_no_second_writer_in(tmp_path, doomed):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume())
    for name in doomed:
        (tmp_path / "run" / name).unlink()
    with pytest.raises(StoreError, match=r"is being written by another process|holds 1 raw volumes"):
        open_writer(tmp_path)
    writer.close()


@posix_only
def test_a_writer_whose_journal_is_deleted_acknowledges_nothing_more(tmp_path):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(0)))
    (tmp_path / "run/journal.jsonl").unlink()
    with pytest.raises(StoreError, match=r"journal.jsonl vanished"):
        writer.write_raw(make_volume(VolumeKey(1)))
    assert writer.raw_keys() == [VolumeKey(0)]
    writer.close()


@posix_only
def test_a_writer_whose_journal_is_replaced_acknowledges_nothing_more(tmp_path):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(0)))
    journal = tmp_path / "run/journal.jsonl"
    shutil.copy(journal, tmp_path / "copy")
    (tmp_path / "copy").replace(journal)
    with pytest.raises(StoreError, match="was replaced by another file"):
        writer.write_raw(make_volume(VolumeKey(1)))
    assert not (tmp_path / "run/raw/0/0/c/1").exists()
    writer.close()


def test_a_writer_notices_another_one_where_locks_do_not_hold(tmp_path):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(0)))
    journal = tmp_path / "run/journal.jsonl"
    with journal.open("ab") as other:
        other.write(journal.read_bytes().splitlines(keepends=True)[-1])
    before = journal.read_bytes()
    with pytest.raises(StoreError, match="was written by another process"):
        writer.write_raw(make_volume(VolumeKey(1)))
    writer.close()
    assert journal.read_bytes() == before


def test_a_lock_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "run/writer.lock").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot lock run"):
        open_writer(tmp_path)


@pytest.mark.parametrize("call", ["write", "lseek"])
def test_a_disk_that_refuses_the_lock_is_one_line(tmp_path, monkeypatch, call):
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(StoreError, match=r"cannot lock run .*no space left"):
        open_writer(tmp_path)


def test_the_journal_of_another_run_is_refused(tmp_path):
    recorded(tmp_path)
    (tmp_path / "run").rename(tmp_path / "other")
    with pytest.raises(StoreError, match="begun with run_id run, now other comes"):
        open_run(StoreConfig(directory=tmp_path), RunStarted("other", make_plan(), {}))
    assert verify(tmp_path / "other").clean


def test_a_claim_that_is_closed_twice_leaves_a_later_writer_alone(tmp_path):
    first = claim(tmp_path)
    first.close()
    second = claim(tmp_path)
    first.close()
    assert (tmp_path / "run" / "journal.jsonl").exists()
    second.close()
    assert not (tmp_path / "run").exists()
