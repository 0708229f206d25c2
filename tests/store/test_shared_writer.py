"""A run whose shards others write: only what its writer has acknowledged is in it, and it is as any other run."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr

from care_live.errors import StoreError
from care_live.images import RunStarted, VolumeKey
from care_live.store import RunReader, shared_writer, verify
from care_live.store.claim import Claim
from care_live.store.shared_writer import ImageExtent, SharedRunWriter, open_shared_run, write_raw, write_restored
from tests.make.stored import SHAPE, make_plan, make_restored, make_volume, only_mean

RAW = ImageExtent(n_times=3, n_channels=1, first_shape=SHAPE, depth=SHAPE[0], dtype="uint16")
MAP = ImageExtent(n_times=3, n_channels=1, first_shape=SHAPE, depth=SHAPE[0], dtype="float32")
MAPS = ("restored", "laplace_scale", "disagreement", "evidence")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def writer(run: Path) -> Iterator[SharedRunWriter]:
    with contextlib.closing(open_shared_run(RunStarted("run", make_plan(), {}), Claim(run))) as opened:
        opened.make_images({("raw", 0): RAW, **{(product, 0): MAP for product in MAPS}})
        yield opened


def test_what_was_adopted_is_read_as_from_any_run_and_exactly(run: Path, writer: SharedRunWriter) -> None:
    restored = make_restored(make_volume())
    writer.adopt(write_raw(writer.shared, "0", restored.volume))
    writer.adopt(write_restored(writer.shared, "0", restored))
    writer.close()
    reader = RunReader(run)
    np.testing.assert_array_equal(reader.read("raw", VolumeKey(0)), restored.volume.pixels)
    np.testing.assert_array_equal(reader.read("restored", VolumeKey(0)), restored.mean)
    assert reader.restoration(VolumeKey(0)).mantissa_bits == 23
    assert verify(run).clean


def test_a_shard_that_was_not_adopted_is_no_volume(run: Path, writer: SharedRunWriter) -> None:
    writer.adopt(write_raw(writer.shared, "0", make_volume(VolumeKey(0))))
    write_raw(writer.shared, "0", make_volume(VolumeKey(1)))  # its process died before it could say so
    writer.close()
    assert RunReader(run).keys("raw") == [VolumeKey(0)]


def test_images_are_as_large_as_they_will_be_before_a_volume_comes(run: Path, writer: SharedRunWriter) -> None:
    assert zarr.open_array(run / "raw" / "0" / "0", mode="r").shape == (3, 1, *SHAPE)


def test_images_that_no_volume_came_to_are_removed_and_the_others_stay(run: Path, writer: SharedRunWriter) -> None:
    restored = only_mean(make_restored(make_volume()))
    writer.adopt(write_raw(writer.shared, "0", restored.volume))
    writer.adopt(write_restored(writer.shared, "0", restored))
    writer.remove_unused_images()
    assert {path.name for path in run.iterdir() if path.is_dir()} >= {"raw", "restored"}
    assert not any((run / product / "0").exists() for product in MAPS[1:])
    writer.close()
    assert verify(run).clean


def test_images_of_a_writer_that_was_killed_are_removed_too(run: Path, writer: SharedRunWriter) -> None:
    restored = only_mean(make_restored(make_volume()))
    writer.adopt(write_raw(writer.shared, "0", restored.volume))
    writer.adopt(write_restored(writer.shared, "0", restored))
    writer.close()  # as a kill, it leaves them
    assert (run / "evidence" / "0").exists()
    with contextlib.closing(open_shared_run(RunStarted("run", make_plan(), {}), Claim(run))) as following:
        following.remove_unused_images()
    assert not any((run / product / "0").exists() for product in MAPS[1:])
    assert verify(run).clean


def test_what_an_ended_process_left_half_written_goes_once_its_volume_is_safe(
    run: Path, writer: SharedRunWriter
) -> None:
    restored = make_restored(make_volume())
    places = [run / product / "0" / "0" / "c" / "0" / "0" / "0" / "0" for product in ("raw", "laplace_scale")]
    for place in places:
        place.mkdir(parents=True)
        (place / "0.12ab.partial").write_bytes(b"half")
    written = [
        write_raw(writer.shared, "0", restored.volume),
        write_restored(writer.shared, "0", restored),
    ]
    assert all((place / "0.12ab.partial").exists() for place in places), "an ended process may be one that is held up"
    for one in written:
        writer.adopt(one)
    assert [[path.name for path in place.iterdir()] for place in places] == [["0"], ["0"]]


def test_a_worker_that_comes_late_writes_nothing_into_the_result_that_took_the_place_of_its_own(
    run: Path, writer: SharedRunWriter
) -> None:
    before = writer.shared
    writer.close()
    shutil.rmtree(run)
    restored = make_restored(make_volume())
    with pytest.raises(StoreError, match="vanished"):
        write_raw(before, "0", restored.volume)
    assert not run.exists()
    with contextlib.closing(open_shared_run(RunStarted("run", make_plan(), {}), Claim(run))) as another:
        another.make_images({("raw", 0): RAW, **{(product, 0): MAP for product in MAPS}})
        for write, what in ((write_raw, restored.volume), (write_restored, restored)):
            with pytest.raises(StoreError, match="another result has taken the place"):
                write(before, "0", what)
    assert not list(run.glob("*/0/0/c/**/0")), "nothing of it is on the disk"


def test_a_full_disk_takes_no_volume(run: Path, writer: SharedRunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_writer, "look", lambda *_, **__: SimpleNamespace(space="too little", free_bytes=7))
    for write in (
        lambda: write_raw(writer.shared, "0", make_volume()),
        lambda: write_restored(writer.shared, "0", make_restored(make_volume())),
    ):
        with pytest.raises(StoreError, match="volume not stored"):
            write()
    assert not list((run / "raw" / "0").glob("0/c/**/0")), "nothing of it is on the disk"


def test_a_run_of_another_acquisition_is_refused_and_left_to_others(run: Path, writer: SharedRunWriter) -> None:
    writer.close()
    with pytest.raises(StoreError):
        open_shared_run(RunStarted("run", make_plan(shape=(3, 40, 24)), {}), Claim(run))
    Claim(run).close()  # it was not kept
