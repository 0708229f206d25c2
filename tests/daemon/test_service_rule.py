"""When a service starts a run again, as each system is asked for it."""

from __future__ import annotations

import plistlib
from pathlib import Path

import pytest

from care_live.config import Config, parse
from care_live.daemon.service_host import rule_of_arguments
from care_live.daemon.service_plist import plist_text
from care_live.daemon.service_rule import ServiceRule, rule_of
from care_live.daemon.service_unit import unit_text
from care_live.errors import ConfigError


def settings(**changes: object) -> Config:
    return parse({"source": {"kind": "remote"}, **changes}, origin="test")


@pytest.mark.parametrize(
    ("asked", "restart"),
    [
        (settings(), "always"),
        (settings(source={"kind": "live"}), "always"),
        (settings(source={"kind": "studio"}), "always"),
        (settings(run_id="worm"), "on-failure"),
        (settings(source={"kind": "virtual"}, run_id="worm"), "on-failure"),
    ],
)
def test_a_follower_starts_for_each_run_and_a_named_run_goes_on(asked: Config, restart: str) -> None:
    rule = rule_of("worm", Path("/data/a b/worm 5%.toml"), asked, python="/opt/py")
    text = unit_text(rule, system=False)
    assert f"\nRestart={restart}\n" in text
    assert f'ExecStart="/opt/py" "-m" "care_live" "run" "{str(rule.config_file).replace("%", "%%")}"\n' in text.replace(
        "\\\\", "\\"
    )
    assert "\nType=notify\n" in text
    assert "\nTimeoutStopSec=480\n" in text
    job = plistlib.loads(plist_text(rule).encode())
    assert job["KeepAlive"] == {"SuccessfulExit": False}, "what it starts keeps the daemon"
    assert job["ProgramArguments"] == list(rule.host_command)
    assert job["ExitTimeOut"] == 480
    assert rule_of_arguments(rule.host_command[3:]) == ServiceRule("worm", rule.config_file, rule.restart, 480)


def test_a_microscope_that_each_boot_would_expose_anew_is_refused() -> None:
    with pytest.raises(ConfigError, match="would acquire anew at each start of this machine: set run_id"):
        rule_of("worm", Path("a.toml"), settings(source={"kind": "micromanager"}))


@pytest.mark.parametrize(
    ("name", "file"), [("worm\n", "a.toml"), ("worm", "a\nExecStartPre=rm.toml"), ("worm", "a\x1b[2J.toml")]
)
def test_what_would_be_more_than_one_line_of_the_file_is_refused(name: str, file: str) -> None:
    with pytest.raises(ConfigError, match=r"is invalid|cannot hold"):
        rule_of(name, Path("/data") / file, settings())
