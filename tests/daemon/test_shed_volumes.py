"""A disk that refuses restored volumes for a while: what it left out is restored again, or counted to the end."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from care_live.daemon import storing
from care_live.daemon.policy import Schedule
from care_live.daemon.run import Daemon
from care_live.daemon.run_metrics import Tally
from care_live.daemon.shed_volumes import ShedVolumes
from care_live.daemon.worker_group import WorkerGroup
from care_live.daemon.worklist import Worklist
from care_live.errors import StoreError
from care_live.images import Restored, Volume, VolumeKey
from care_live.store import RunReader, RunWriter
from tests.make import samples
from tests.make.runs import config, movie, replay, run

N_TIMES = 4
DEADLINE_S = 120.0


def test_what_was_shed_waits_for_space_and_comes_last():
    worklist, tally = Worklist(Schedule()), Tally()
    shed = ShedVolumes(worklist, tally)
    for t in range(3):
        worklist.stored(VolumeKey(t))
    shed.add(samples.restored(0), "the disk is full")
    shed.add(samples.restored(2), "the disk is full")
    assert (tally.status().shed, worklist.waiting) == (2, (0, 0))
    shed.restore_again()
    assert (tally.status().shed, worklist.waiting) == (0, (0, 2))
    shed.restore_again()
    assert worklist.waiting == (0, 2), "each of them once"


def test_a_volume_that_is_shed_again_is_left_to_the_next_start():
    worklist, tally = Worklist(Schedule()), Tally()
    shed = ShedVolumes(worklist, tally)
    for _ in range(2):
        shed.add(samples.restored(0), "the disk is full")
        shed.restore_again()
    assert (tally.status().shed, worklist.waiting) == (1, (0, 1))


def test_what_is_shed_after_the_last_worker_has_left_stays_counted():
    worklist, tally = Worklist(Schedule()), Tally()
    shed = ShedVolumes(worklist, tally)
    worklist.intake_over()
    assert worklist.next() is None
    assert worklist.end()
    shed.add(samples.restored(0), "the disk is full")
    shed.restore_again()
    assert (tally.status().shed, worklist.waiting) == (1, (0, 0))


def test_what_waits_to_be_restored_again_when_the_run_ends_is_counted():
    worklist, tally = Worklist(Schedule()), Tally()
    shed = ShedVolumes(worklist, tally)
    for t in range(3):
        shed.add(samples.restored(t), "the disk is full")
    shed.restore_again()
    shed.stored(VolumeKey(1))
    assert tally.status().shed == 0
    worklist.drain()
    shed.end()
    assert tally.status().shed == 2
    shed.add(samples.restored(2), "the store has ended")
    assert tally.status().shed == 2, "each of them once"


def let_all_arrive_first(patch: pytest.MonkeyPatch) -> None:
    """Take no volume up again before every raw one is written: what ends the run then cuts none of them off."""
    written: set[VolumeKey] = set()
    write, restore_again = RunWriter.write_raw, ShedVolumes.restore_again

    def noted(writer: RunWriter, volume: Volume) -> None:
        write(writer, volume)
        written.add(volume.key)

    def after_all(shed: ShedVolumes) -> None:
        if len(written) == N_TIMES:
            restore_again(shed)

    patch.setattr(RunWriter, "write_raw", noted)
    patch.setattr(ShedVolumes, "restore_again", after_all)


class RefusingDisk:
    """Refuses the first restored volumes for some tries, and lets no later one begin before they are taken up again."""

    def __init__(self, patch: pytest.MonkeyPatch, *, n_tries: int, waits: bool) -> None:
        self.n_left, self.taken_up = n_tries, threading.Event()
        write, restore, last = RunWriter.write_restored, WorkerGroup.restore, Worklist.last

        def refused(writer: RunWriter, restored: Restored, **options: float | None) -> None:
            if self.n_left:
                self.n_left -= 1
                raise StoreError("the network disk does not answer")
            write(writer, restored, **options)

        def noted(worklist: Worklist, *keys: VolumeKey) -> bool:
            is_taken = last(worklist, *keys)
            self.taken_up.set()
            return is_taken

        def gated(group: WorkerGroup, worker: object, volumes: tuple[object, ...], **others: object) -> object:
            if waits and volumes[0].key.t == N_TIMES - 1:  # type: ignore[attr-defined]
                assert self.taken_up.wait(DEADLINE_S)
            return restore(group, worker, volumes, **others)  # type: ignore[arg-type]

        patch.setattr(storing, "LOOK_S", 0.0)
        let_all_arrive_first(patch)
        patch.setattr(RunWriter, "write_restored", refused)
        patch.setattr(Worklist, "last", noted)
        patch.setattr(WorkerGroup, "restore", gated)


def check_whole(folder: Path, pixels: np.ndarray) -> None:
    reader = RunReader(folder / "runs" / "test")
    assert reader.keys("raw") == reader.keys("restored") == [VolumeKey(t) for t in range(N_TIMES)]
    assert reader.ended is not None and reader.ended.is_complete
    assert all((reader.read("raw", key) == pixels[key.t]).all() for key in reader.keys("raw"))


@pytest.mark.slow
@pytest.mark.parametrize("n_tries", [2, 3], ids=["for-a-moment", "too-long-for-it"])
def test_a_restored_volume_that_the_disk_refused_is_stored_in_the_same_run(tmp_path, monkeypatch, n_tries):
    """Where three tries do not help, the volume is restored again."""
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    RefusingDisk(monkeypatch, n_tries=n_tries, waits=n_tries == 3)
    status = run(config(tmp_path, replay(tmp_path / "movie.tif"), restore={"policy": "wait"}))
    assert (status.shed, status.stored_restored, status.shortfalls) == (0, N_TIMES, ())
    assert status.restored == N_TIMES + (n_tries == 3)
    check_whole(tmp_path, pixels)


@pytest.mark.slow
def test_what_a_drained_run_does_not_restore_again_is_said_and_restored_by_the_next_start(tmp_path, monkeypatch):
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    settings = config(tmp_path, replay(tmp_path / "movie.tif"), restore={"policy": "wait"})
    disk, last = RefusingDisk(monkeypatch, n_tries=3, waits=True), Worklist.last
    daemon = Daemon(settings, "test")

    def drained(worklist: Worklist, *keys: VolumeKey) -> bool:
        is_taken = last(worklist, *keys)
        worklist.drain()
        daemon.drain()
        return is_taken

    monkeypatch.setattr(Worklist, "last", drained)
    status = daemon.run()
    assert disk.taken_up.is_set()
    assert status.shed == status.restored - status.stored_restored == 1
    monkeypatch.undo()
    assert run(settings).shed == 0
    check_whole(tmp_path, pixels)


@pytest.mark.slow
def test_what_the_disk_refuses_to_the_end_is_said_and_restored_by_the_next_start(tmp_path, monkeypatch):
    pixels = movie(tmp_path / "movie.tif", times=N_TIMES)
    settings = config(tmp_path, replay(tmp_path / "movie.tif"), restore={"policy": "wait"})
    RefusingDisk(monkeypatch, n_tries=1000, waits=False)
    assert run(settings).shed == N_TIMES
    monkeypatch.undo()
    assert run(settings).shed == 0
    check_whole(tmp_path, pixels)
