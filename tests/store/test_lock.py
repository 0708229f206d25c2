"""Locks of a run: one writer, its name, and none left when it has ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from care_live.errors import StoreError
from care_live.store.lock import LOCK_NAME, RunLock, is_taken


def test_a_second_writer_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    first = RunLock(tmp_path)
    with pytest.raises(StoreError, match=f"is being written by process {os.getpid()}"):
        RunLock(tmp_path)
    first.close()


def test_the_file_stays_and_the_lock_does_not(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    assert is_taken(tmp_path / LOCK_NAME)
    lock.close()
    assert (tmp_path / LOCK_NAME).exists()
    assert not is_taken(tmp_path / LOCK_NAME)
    RunLock(tmp_path).close()


def test_a_file_that_is_not_there_is_not_locked(tmp_path: Path) -> None:
    assert not is_taken(tmp_path / LOCK_NAME)


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot lock run"):
        RunLock(tmp_path / "gone")
