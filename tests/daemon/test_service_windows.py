"""Windows' services: made, started, described, and taken away again."""

from __future__ import annotations

import subprocess
from pathlib import Path

from care_live.config import parse
from care_live.daemon.service_rule import ServiceRule, rule_of
from care_live.daemon.service_steps import SystemRequest
from care_live.daemon.service_windows import windows_installed, windows_removed


def rule() -> ServiceRule:
    settings = parse({"source": {"kind": "remote"}}, origin="test")
    return rule_of("lab", Path("/data/a b/run.toml"), settings, python="C:/py thon/python.exe")


def requests() -> list[SystemRequest]:
    return [step for step in windows_installed(rule()) if isinstance(step, SystemRequest)]


def test_it_starts_at_each_boot_with_a_command_that_blanks_do_not_break() -> None:
    create = requests()[0]
    line = create.command[create.command.index("binPath=") + 1]
    assert line == subprocess.list2cmdline(rule().host_command)
    assert line.startswith('"C:/py thon/python.exe" ')
    assert create.command[create.command.index("start=") + 1] == "auto"


def test_what_was_made_is_deleted_where_a_later_request_fails() -> None:
    create, *later = requests()
    assert create.undo == ("sc.exe", "delete", "lab")
    assert not any(request.undo for request in later)


def test_a_shutdown_waits_for_the_drain() -> None:
    registry = next(request.command for request in requests() if request.command[0] == "reg.exe")
    assert "PreshutdownTimeout" in registry
    assert str(1000 * rule().stop_s) in registry


def test_one_that_does_not_run_is_removed_all_the_same() -> None:
    look, stop, delete = (step for step in windows_removed("lab") if isinstance(step, SystemRequest))
    assert look.command[:2] == ("reg.exe", "query") and look.wanted, "a service of another program is left alone"
    assert stop.command == ("sc.exe", "stop", "lab") and 1062 in stop.accepts
    assert delete.command == ("sc.exe", "delete", "lab") and not delete.accepts
