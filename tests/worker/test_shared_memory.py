"""Shared memory: arrays stay whole while anyone looks, then the segment is used again, and none leaks."""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from care_live.errors import OutOfMemoryError
from care_live.worker.shared_memory import Pool, SegmentView, aligned_bytes


def test_another_look_sees_the_same_memory() -> None:
    lease = Pool().take(aligned_bytes((3, 4), np.uint16) + aligned_bytes((2,), np.float32))
    first, place = lease.array((3, 4), np.uint16)
    second, other = lease.array((2,), np.float32)
    window = SegmentView()
    first[:] = 7
    window.array(other)[:] = 0.5
    assert (window.array(place) == 7).all()
    assert (second == 0.5).all()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no memfd_create")
def test_a_python_without_memfd_create_shares_memory_that_has_no_name_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    lease = Pool().take(4096)
    first, place = lease.array((3, 4), np.uint16)
    first[:] = 7
    assert (SegmentView().array(place) == 7).all()
    assert Path(lease.name.path).stat().st_nlink == 0, "nothing stays behind when a process is killed"


def test_a_segment_comes_back_only_when_the_last_view_is_gone() -> None:
    pool = Pool()
    lease = pool.take(4096)
    serial = lease.name.serial
    view = lease.array((1024,), np.float32)[0][5:7].reshape(2, 1)
    del lease
    gc.collect()
    other = pool.take(4096)
    assert other.name.serial != serial
    del view
    gc.collect()
    assert pool.take(4096).name.serial == serial


def test_use_and_drop_opens_no_more_files() -> None:
    pool = Pool(keep=2)
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for i in range(50):
        array, _ = pool.take(4096 * (i + 1)).array((4,), np.float32)
        array[:] = i
    del array
    gc.collect()
    pool.take(10)
    after = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    assert after - before <= 8  # two for each of the few that are kept
    assert len(pool.alive()) <= 4


def test_the_other_side_forgets_what_is_gone() -> None:
    window = SegmentView()
    lease = Pool().take(64)
    _, place = lease.array((4,), np.float32)
    window.array(place)
    window.keep_only([])
    assert window.array(place).shape == (4,)


def test_more_than_there_is_is_out_of_memory() -> None:
    with pytest.raises(OutOfMemoryError, match="to share with inference"):
        Pool().take(2**62)


def test_one_thread_may_take_memory_while_another_asks_what_is_alive() -> None:
    pool, n_asked, failed = Pool(keep=0), 10_000, threading.Event()

    def ask() -> None:
        try:
            for _ in range(n_asked):
                pool.alive()
        except RuntimeError:  # a set that changed under the hands of its reader
            failed.set()

    asking, kept = threading.Thread(target=ask), []
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        asking.start()
        while asking.is_alive():
            kept.append(pool.take(4096 * (1 + len(kept))))
            if len(kept) > 40:
                kept.clear()
    finally:
        sys.setswitchinterval(usual_s)
        asking.join()
    assert not failed.is_set()
