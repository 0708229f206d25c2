"""launchd's property list: a user's agent, or a daemon of the machine."""

from __future__ import annotations

import plistlib
from pathlib import Path

from care_live.config import parse
from care_live.daemon.service_plist import plist_installed, plist_path, plist_removed, plist_text
from care_live.daemon.service_rule import ServiceRule, rule_of
from care_live.daemon.service_steps import SystemRequest

HOME = Path("/Users/ada")


def rule() -> ServiceRule:
    settings = parse({"source": {"kind": "remote"}}, origin="test")
    return rule_of("lab", Path("/data/<run> & more.toml"), settings, python="/opt/py")


def test_the_list_is_read_as_it_was_meant() -> None:
    job = plistlib.loads(plist_text(rule()).encode())
    assert job["Label"] == "org.care-live.lab"
    assert str(rule().config_file) in job["ProgramArguments"]
    assert job["ProcessType"] == "Interactive"


def test_it_lies_where_launchd_looks_for_it() -> None:
    assert plist_path("lab", system=False, home=HOME) == HOME / "Library/LaunchAgents/org.care-live.lab.plist"
    assert plist_path("lab", system=True, home=HOME) == Path("/Library/LaunchDaemons/org.care-live.lab.plist")


def test_an_older_job_is_taken_out_before_the_new_one_is_put_in() -> None:
    path = plist_path("lab", system=False, home=HOME)
    requests = [step for step in plist_installed(rule(), path, user_id=501) if isinstance(step, SystemRequest)]
    assert [one.command[:3] for one in requests] == [
        ("launchctl", "bootout", "gui/501/org.care-live.lab"),
        ("launchctl", "bootstrap", "gui/501"),
    ]
    assert requests[0].accepts == {3, 113}, "it may not run"
    removed = [step for step in plist_removed("lab", path, user_id=None) if isinstance(step, SystemRequest)]
    assert [one.command for one in removed] == [("launchctl", "bootout", "system/org.care-live.lab")]
