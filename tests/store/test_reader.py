"""A run read while its writer changes it."""

from __future__ import annotations

import os

import numpy as np
import pytest

from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.recorded.journal_lines import JOURNAL_NAME
from care_live.store import RunReader
from tests.make.stored import SHAPE, make_pixels, make_restored, make_volume, open_writer


def refuse(*_: object) -> int:
    raise OSError(5, "Input/output error")


def test_a_reader_forgets_what_the_writer_took_back(tmp_path, monkeypatch):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(0)))
    reader = RunReader(tmp_path / "run")
    synced = os.fsync

    def seen_then_refused(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == (tmp_path / "run" / JOURNAL_NAME).stat().st_ino:
            reader.refresh()
            refuse()
        synced(descriptor)

    with monkeypatch.context() as broken, pytest.raises(StoreError):
        broken.setattr(os, "fsync", seen_then_refused)
        writer.write_raw(make_volume(VolumeKey(1)))
    assert reader.keys("raw") == [VolumeKey(0), VolumeKey(1)]  # the line stood there for a moment
    writer.write_raw(make_volume(VolumeKey(2)))
    reader.refresh()
    assert reader.keys("raw") == [VolumeKey(0), VolumeKey(2)]
    writer.close()


def test_a_reader_of_a_run_that_was_begun_anew_reads_the_new_one(tmp_path):
    for t, n in ((0, 1), (1, 2)):
        writer = open_writer(tmp_path / str(t))
        for step in range(n):
            writer.write_raw(make_volume(VolumeKey(t + step)))
        writer.close()
    reader = RunReader(tmp_path / "0/run")
    (tmp_path / "0").rename(tmp_path / "old")
    (tmp_path / "1").rename(tmp_path / "0")
    reader.refresh()
    assert reader.keys("raw") == [VolumeKey(1), VolumeKey(2)]
    np.testing.assert_array_equal(reader.read("raw", VolumeKey(2)), make_pixels(VolumeKey(2)))


def test_lines_around_a_damaged_one_are_read_and_the_damage_is_named(tmp_path):
    writer = open_writer(tmp_path)
    volumes = [make_volume(VolumeKey(t)) for t in range(3)]
    for volume in volumes:
        writer.write_raw(volume)
        writer.write_restored(make_restored(volume))
    writer.close()
    journal = tmp_path / "run" / JOURNAL_NAME
    sound = journal.read_bytes()
    lines = sound.splitlines(keepends=True)
    lines[3] = lines[3].replace(b"raw", b"rax")
    journal.write_bytes(b"".join(lines))
    reader = RunReader(tmp_path / "run")
    assert reader.damaged_lines == (4,)
    assert reader.keys("raw") == [VolumeKey(0), VolumeKey(2)]
    assert reader.state(VolumeKey(1), "restored") == "suspect"  # its raw volume is forgotten
    journal.write_bytes(sound)  # it was the network disk, which showed a line before it was there
    reader.refresh()
    assert reader.damaged_lines == ()
    assert reader.keys("raw") == [VolumeKey(0), VolumeKey(1), VolumeKey(2)]
    assert reader.state(VolumeKey(1), "restored") == "confirmed"


def test_a_volume_that_is_replaced_after_the_journal_was_read_is_read_anew(tmp_path):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume())
    writer.write_restored(make_restored(make_volume()))
    reader = RunReader(tmp_path / "run")
    writer.write_restored(make_restored(make_volume(), maps={"mean": np.full(SHAPE, 2.0, np.float32)}))
    assert (reader.read("restored", VolumeKey(0)) == 2.0).all()
    writer.close()


def test_a_shard_that_is_lost_is_never_read_as_zeros(tmp_path):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume())
    writer.close()
    (tmp_path / "run/raw/0/0/c/0/0/0/0/0").unlink()
    with pytest.raises(StoreError, match="vanished"):
        RunReader(tmp_path / "run").read("raw", VolumeKey(0))
