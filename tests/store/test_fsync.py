"""What was acknowledged is on the disk with every folder that leads to it."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.store import claim_run, nearest_folder, refuse_unfit, verify
from care_live.store.fsync import make_folder
from tests.make.stored import make_plan, make_restored, make_volume, open_writer


class Synced:
    """Remembers what each folder and file held when it was synced last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open, self._fsync = os.open, os.fsync
        self._paths: dict[int, Path] = {}
        self.entries: dict[Path, set[str]] = {}
        self.sizes: dict[Path, int] = {}
        monkeypatch.setattr(os, "open", self.open)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def open(self, path, *arguments, **options) -> int:
        descriptor = self._open(path, *arguments, **options)
        self._paths[descriptor] = Path(path)
        return descriptor

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        path = self._paths[descriptor]
        if path.is_dir():
            self.entries[path] = {entry.name for entry in path.iterdir()}
        else:
            self.sizes[path] = path.stat().st_size

    def lacks(self, file: Path, top: Path) -> list[Path]:
        """Return what a power cut now may take of a file: its bytes, or its or a folder's entry."""
        way = [file, *(parent for parent in file.parents if top in parent.parents)]
        lost = [path for path in way if path.name not in self.entries.get(path.parent, set())]
        return lost if self.sizes.get(file) == file.stat().st_size else [file, *lost]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows syncs folders by itself")
def test_a_power_cut_after_an_acknowledgement_takes_nothing_of_it(tmp_path, monkeypatch):
    synced = Synced(monkeypatch)
    folder = tmp_path / "new/folder/of/runs"
    writer = open_writer(folder, make_plan(n_t=2, n_p=2, n_c=2))
    run = folder / "run"
    for key in sorted(make_plan(n_t=2, n_p=2, n_c=2).stacks):
        writer.write_raw(make_volume(key))
        shard = Path(f"raw/{key.p}/0/c/{key.t}/{key.c}/0/0/0")
        for file in (shard, Path(f"raw/{key.p}/0/zarr.json"), Path("journal.jsonl")):
            assert synced.lacks(run / file, tmp_path) == [], key
    writer.write_restored(make_restored(make_volume()))
    for product in ("restored", "laplace_scale", "disagreement"):
        assert synced.lacks(run / product / "0/0/c/0/0/0/0/0", tmp_path) == []
    writer.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows syncs folders by itself")
def test_what_an_earlier_writer_made_and_did_not_sync_is_synced_too(tmp_path, monkeypatch):
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(0)))
    writer.close()
    synced = Synced(monkeypatch)  # remembers nothing of that one
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume(VolumeKey(1)))
    for file in ("raw/0/0/c/1/0/0/0/0", "raw/0/0/zarr.json", "journal.jsonl"):
        assert synced.lacks(tmp_path / "run" / file, tmp_path) == []
    writer.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows syncs folders by itself")
def test_a_disk_that_syncs_no_folders_takes_runs_with_a_warning(tmp_path, monkeypatch, caplog):
    sync, refused = os.fsync, []

    def files_only(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            refused.append(descriptor)
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    writer = open_writer(tmp_path)
    writer.write_raw(make_volume())
    writer.close()
    assert refused
    assert verify(tmp_path / "run").clean
    assert sum("syncs no folders" in record.message for record in caplog.records) <= 1


def test_a_drive_that_is_not_there_is_an_error_and_not_for_ever(tmp_path, monkeypatch):
    """On Windows a drive's folder may be missing, and has no other one above it."""
    monkeypatch.setattr(Path, "exists", lambda path, **_: False)
    with pytest.raises(StoreError, match="does not exist; connect that disk"):
        nearest_folder(tmp_path)
    with pytest.raises(StoreError, match="does not exist; connect that disk"):
        refuse_unfit(StoreConfig(directory=tmp_path), "run")


def test_a_name_that_no_disk_takes_is_one_line(tmp_path):
    config = StoreConfig(directory=tmp_path / ("y" * 300))
    with pytest.raises(StoreError, match=r"cannot (look for|create)"):
        refuse_unfit(config, "run")
        claim_run(config, "run")  # where Python itself says that there is no such path


def test_a_folder_on_a_drive_that_is_not_there_cannot_be_made(tmp_path, monkeypatch):
    def refuse(path, **_):
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "is_dir", lambda path, **_: False)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(FileNotFoundError):
        make_folder(tmp_path / "run")
