"""A disk that is full, gone or read-only: a clear line, nothing half-written, all that was safe stays safe."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.store import RunReader, verify
from tests.make.stored import make_plan, make_restored, make_volume, open_writer

NOISE = (4, 128, 128)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="asks the operating system for a limit")


@contextlib.contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """The operating system refuses to let any file of this process grow beyond this."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def noisy_volume(t: int):
    pixels = np.random.default_rng(t).integers(0, 65536, NOISE).astype(np.uint16)
    return make_volume(VolumeKey(t), NOISE, pixels=pixels)


def check_clean(run: Path, n_raw: int) -> None:
    assert not list(run.rglob("*.partial"))
    report = verify(run)
    assert report.clean, report.problems
    reader = RunReader(run)
    for key in reader.keys("raw"):
        np.testing.assert_array_equal(reader.read("raw", key), noisy_volume(key.t).pixels)
    assert len(reader.keys("raw")) == n_raw


@posix_only
def test_a_disk_that_fills_up_within_a_shard(tmp_path):
    writer = open_writer(tmp_path, make_plan(shape=NOISE))
    writer.write_raw(noisy_volume(0))
    with largest_file(50_000), pytest.raises(StoreError, match=r"no space left on the disk of .* free some"):
        writer.write_raw(noisy_volume(1))
    with largest_file(50_000), pytest.raises(StoreError, match="no space left"):
        writer.write_restored(make_restored(noisy_volume(0)))
    assert writer.raw_keys() == writer.raw_only() == [VolumeKey(0)]
    writer.write_raw(noisy_volume(1))  # someone freed space
    writer.write_restored(make_restored(noisy_volume(0)))
    writer.close()
    check_clean(tmp_path / "run", n_raw=2)


@posix_only
@pytest.mark.parametrize("limit", [400, 1200, 2000], ids=["array", "group", "shard"])
def test_a_disk_that_is_full_before_the_first_volume(tmp_path, limit):
    writer = open_writer(tmp_path, make_plan(shape=NOISE))
    with largest_file(limit), pytest.raises(StoreError, match="no space left"):
        writer.write_raw(noisy_volume(0))
    assert writer.raw_keys() == []
    writer.write_raw(noisy_volume(0))
    writer.close()
    check_clean(tmp_path / "run", n_raw=1)


@posix_only
def test_a_disk_that_fills_up_within_the_journal(tmp_path):
    shape = (1, 8, 8)  # a shard smaller than the journal
    writer = open_writer(tmp_path, make_plan(shape=shape))
    for t in range(4):
        writer.write_raw(make_volume(VolumeKey(t), shape))
    before = (tmp_path / "run/journal.jsonl").read_bytes()
    with largest_file(len(before) + 40), pytest.raises(StoreError, match=r"cannot write the journal .*no space left"):
        writer.write_raw(make_volume(VolumeKey(4), shape))
    assert (tmp_path / "run/journal.jsonl").read_bytes() == before
    writer.write_raw(make_volume(VolumeKey(4), shape))
    writer.close()
    assert verify(tmp_path / "run").clean
    assert len(RunReader(tmp_path / "run").keys("raw")) == 5


def test_restored_volumes_are_shed_before_raw_ones(tmp_path):
    free_mib = shutil.disk_usage(tmp_path).free // 2**20
    writer = open_writer(tmp_path, keep_free_mib=int(free_mib * 1.5))
    assert writer.disk().space == "raw-only"
    writer.write_raw(make_volume(VolumeKey(0)))
    with pytest.raises(StoreError, match=r"restored volume \(0, 0, 0\) not stored: \S+ MiB free, \S+ MiB must stay so"):
        writer.write_restored(make_restored(make_volume(VolumeKey(0))))
    writer.close()
    writer = open_writer(tmp_path, keep_free_mib=int(free_mib * 3))
    assert writer.disk().space == "none"
    with pytest.raises(StoreError, match=r"raw volume \(1, 0, 0\) not stored"):
        writer.write_raw(make_volume(VolumeKey(1)))
    writer.close()
    assert verify(tmp_path / "run").clean


def test_the_disk_tells_how_long_it_will_do(tmp_path):
    writer = open_writer(tmp_path)
    assert writer.disk().seconds_left is None
    writer.write_raw(make_volume(VolumeKey(0)))
    disk = writer.disk()
    assert disk.space == "enough"
    assert disk.seconds_left is not None and disk.seconds_left > 60
    writer.close()


def test_a_run_folder_that_vanishes(tmp_path):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(0)))
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"vanished .* was the run's folder moved"):
        writer.write_raw(make_volume(VolumeKey(1)))
    assert not (tmp_path / "run").exists()
    writer.close()
    assert RunReader(tmp_path / "elsewhere").keys("raw") == [VolumeKey(0)]


def test_a_directory_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot create run folder"):
        open_writer(tmp_path / "file")


@posix_only
def test_a_directory_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o555)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(
            StoreError, match=r"cannot be written \(Permission denied\); choose another store.directory"
        ):
            open_writer(tmp_path)
    finally:
        if was == 0:
            os.seteuid(0)
        tmp_path.chmod(0o755)
