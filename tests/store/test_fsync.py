"""What was acknowledged is on the disk with every folder that leads to it."""

from __future__ import annotations

import errno
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import RunStarted, VolumeKey
from care_live.store import claim_run, nearest_folder, open_run, refuse_unfit, verify
from care_live.store.fsync import make_folder
from tests.make.stored import make_plan, make_restored, make_volume, only_mean, open_writer

FIELDS = ("A/1/0", "A/1/1", "B/12/0")


class Synced:
    """Remembers what each folder and file held when it was synced last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open, self._fsync, self._replace = os.open, os.fsync, os.replace
        self._paths: dict[int, Path] = {}
        self.order: list[Path] = []
        """What was synced, one after the other."""
        self.risked: list[Path] = []
        """Metadata that got their name before their bytes were synced: a power cut may leave them empty."""
        self.entries: dict[Path, set[str]] = {}
        self.sizes: dict[Path, int] = {}
        monkeypatch.setattr(os, "open", self.open)
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "replace", self.replace)

    def replace(self, source, target) -> None:
        n_synced, n_written = self.sizes.pop(Path(source), 0), Path(source).stat().st_size
        if Path(target).suffix == ".json" and n_synced != n_written:
            self.risked.append(Path(target))
        self._replace(source, target)
        self.sizes[Path(target)] = n_synced

    def open(self, path, *arguments, **options) -> int:
        descriptor = self._open(path, *arguments, **options)
        self._paths[descriptor] = Path(path)
        return descriptor

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        path = self._paths[descriptor]
        self.order.append(path)
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
    assert synced.risked == []
    writer.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows syncs folders by itself")
def test_a_power_cut_takes_nothing_of_coarser_levels(tmp_path, monkeypatch):
    synced, shape = Synced(monkeypatch), (1, 8, 1040)
    plan = make_plan(n_t=2, shape=shape)
    writer = open_run(StoreConfig(directory=tmp_path, keep_free_mib=0), RunStarted("run", plan, {"pyramid": True}))
    for key in sorted(plan.stacks):
        synced.order.clear()
        writer.write_raw(make_volume(key, shape))
        levels = [tmp_path / "run/raw/0" / str(level) for level in range(3)]
        shards = [level / f"c/{key.t}/0/0/0/0" for level in levels]
        for file in (*shards, *(level / "zarr.json" for level in levels)):
            assert synced.lacks(file, tmp_path) == [], file
        *before, last = synced.order
        assert last == tmp_path / "run/journal.jsonl" and last not in before and set(before) >= set(shards)
    assert synced.risked == []
    writer.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows syncs folders by itself")
def test_the_new_folder_c_is_synced_before_the_line_that_acknowledges_its_first_volume(tmp_path, monkeypatch):
    synced = Synced(monkeypatch)
    writer = open_writer(tmp_path)
    array, journal = tmp_path / "run/raw/0/0", tmp_path / "run/journal.jsonl"
    synced.order.clear()
    writer.write_raw(make_volume(VolumeKey(0)))
    shard = array / "c/0/0/0/0/0"
    *before, last = synced.order
    assert last == journal and journal not in before
    assert set(before) >= {shard, *(folder for folder in shard.parents if array in (folder, *folder.parents))}
    assert "c" in synced.entries[array]
    writer.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows syncs folders by itself")
@pytest.mark.parametrize("is_resumed", [False, True], ids=["new", "made by a writer that was killed"])
def test_a_power_cut_takes_nothing_of_a_plate(tmp_path, monkeypatch, is_resumed):
    if is_resumed:
        write_field(tmp_path, 0)
    synced = Synced(monkeypatch)
    for p in range(is_resumed, 3):
        write_field(tmp_path, p)
    for field in FIELDS[is_resumed:]:
        for product in ("raw", "restored"):
            for name in ("c/0/0/0/0/0", "zarr.json"):
                assert synced.lacks(tmp_path / "run" / product / field / "0" / name, tmp_path) == [], (product, field)
    assert synced.risked == []


def write_field(folder: Path, p: int) -> None:
    """Store a field of a plate, and what was restored of it."""
    plan = replace(make_plan(n_t=1, n_p=len(FIELDS)), positions=FIELDS)
    writer = open_run(StoreConfig(directory=folder, keep_free_mib=0), RunStarted("run", plan, {"plate": {"name": "x"}}))
    volume = make_volume(VolumeKey(0, p))
    writer.write_raw(volume)
    writer.write_restored(only_mean(make_restored(volume)))
    writer.close()


def test_an_image_whose_making_failed_at_its_end_is_made_by_the_next_try(tmp_path, monkeypatch):
    sync, failed, made = os.fsync, [], tmp_path / "run/raw/0/0/zarr.json"

    def fails_once(descriptor):
        if not failed and made.exists() and os.path.samestat(os.fstat(descriptor), made.stat()):
            failed.append(descriptor)
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    writer = open_writer(tmp_path)
    monkeypatch.setattr(os, "fsync", fails_once)
    with pytest.raises(StoreError, match="no space left"):
        writer.write_raw(make_volume())
    writer.write_raw(make_volume())
    writer.close()
    assert verify(tmp_path / "run").problems == ()


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
