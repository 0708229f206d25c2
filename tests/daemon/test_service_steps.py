"""The steps of an install."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from care_live.daemon.service_steps import RemoveFile, SystemRequest, WriteFile, take
from care_live.errors import CareLiveError, ConfigError


def test_a_file_that_cannot_be_removed_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot remove"):
        take([RemoveFile(tmp_path)])  # a folder


def test_what_the_system_is_still_at_is_asked_again() -> None:
    codes, pauses = iter((36, 36, 3)), list[float]()
    bootout = SystemRequest(("launchctl", "bootout", "it"), accepts=frozenset({3}), goes_on=frozenset({36}))
    said = take(
        [bootout], lambda command: subprocess.CompletedProcess(command, next(codes), "", ""), pause=pauses.append
    )
    assert said == "launchctl bootout it" and pauses == [1.0, 1.0]
    with pytest.raises(CareLiveError, match=r"failed \(36\): in progress"):
        take(
            [bootout], lambda command: subprocess.CompletedProcess(command, 36, "", "in progress"), pause=pauses.append
        )
    assert len(pauses) == 902, "a drain has its time"


def test_a_file_that_is_no_text_is_as_it_was_when_a_later_step_fails(tmp_path: Path) -> None:
    unit = tmp_path / "lab.service"
    unit.write_bytes(before := b"caf\xe9\r\n\x00\xff")
    with pytest.raises(ConfigError, match=r"cannot remove .*; taken back: wrote"):
        take([WriteFile(unit, "[Unit]\n"), RemoveFile(tmp_path)])
    assert unit.read_bytes() == before


def test_what_was_never_written_is_not_said_to_be_removed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as raised:
        take([WriteFile(tmp_path / "file" / "lab.service", "[Unit]\n")])
    assert "cannot write" in str(raised.value) and "taken back" not in str(raised.value)
