"""systemd's unit: what it says, where it lies, and what cannot break out of its line."""

from __future__ import annotations

from pathlib import Path

from care_live.config import parse
from care_live.daemon.service_rule import ServiceRule, rule_of
from care_live.daemon.service_unit import unit_installed, unit_path, unit_removed, unit_text

HOME = Path("ada/.config")


def rule(file: str = "/data/run.toml") -> ServiceRule:
    return rule_of("lab", Path(file), parse({"source": {"kind": "remote"}}, origin="test"), python="/opt/py")


def test_it_starts_with_the_machine_or_with_its_user() -> None:
    assert "\nWantedBy=multi-user.target\n" in unit_text(rule(), system=True)
    assert "\nWantedBy=default.target\n" in unit_text(rule(), system=False)
    assert unit_path("lab", system=True, config_home=HOME).as_posix() == "/etc/systemd/system/lab.service"
    assert unit_path("lab", system=False, config_home=HOME) == HOME / "systemd" / "user" / "lab.service"


def test_signs_that_systemd_would_replace_are_written_twice() -> None:
    (line,) = (
        line for line in unit_text(rule('/a "b" $HOME 5%.toml'), system=True).splitlines() if "ExecStart" in line
    )
    assert '$$HOME 5%%.toml"' in line
    assert '\\"b\\"' in line


def test_requests_of_a_user_go_to_the_systemd_of_that_user() -> None:
    path = unit_path("lab", system=False, config_home=HOME)
    for system in (False, True):
        steps = [*unit_installed(rule(), path, system=system), *unit_removed(path, system=system)]
        commands = [step.command for step in steps if hasattr(step, "command")]
        assert commands
        assert all(("--user" in command) is not system for command in commands)
