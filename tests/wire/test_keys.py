"""Keys: made, allowed and revoked from the command line; only their owner can read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from care_live.cli.watching import keys_command
from care_live.errors import ConfigError
from care_live.wire import keys, sockets


def run(*arguments: object) -> Result:
    return CliRunner().invoke(keys_command, [str(argument) for argument in arguments])


def test_a_new_key_is_its_owners_alone_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "server.key"
    assert run("new", path).exit_code == 0
    pair = keys.read_pair(path)
    assert keys.read_public(str(keys.public_file(path))) == pair.public
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = run("new", path)
    assert isinstance(again.exception, ConfigError) and "exists" in str(again.exception)
    assert keys.read_pair(path) == pair
    assert pair.secret not in repr(pair)


def test_allow_change_and_revoke(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    mia, rex = sockets.new_pair().public, sockets.new_pair().public
    (tmp_path / "rex.pub").write_text(rex + "\n")
    assert run("allow", mia, "mia", "--list", allowed).exit_code == 0
    assert run("allow", tmp_path / "rex.pub", "rex", "--role", "recorder", "--list", allowed).exit_code == 0
    listed = keys.AllowList(allowed)
    assert listed.guest(mia) == keys.Guest("mia", "viewer")
    assert listed.guest(rex) == keys.Guest("rex", "recorder")
    assert run("allow", mia, "mia", "--role", "operator", "--list", allowed).exit_code == 0
    assert listed.guest(mia) == keys.Guest("mia", "operator")
    assert run("revoke", "rex", "--list", allowed).exit_code == 0
    assert listed.guest(rex) is None and listed.guest(mia) is not None
    unknown = run("revoke", "rex", "--list", allowed)
    assert isinstance(unknown.exception, ConfigError) and "rex" in str(unknown.exception)


@pytest.mark.parametrize(
    "line",
    ["viewer short mia", "king " + "a" * 40 + " mia", "viewer " + "a" * 40, "viewer " + "a" * 40 + " mi/a", "\xff"],
)
def test_a_list_with_a_broken_line_lets_no_guest_in(tmp_path: Path, line: str) -> None:
    allowed = tmp_path / "allowed"
    mia = sockets.new_pair().public
    keys.allow(allowed, mia, "mia", "viewer")
    listed = keys.AllowList(allowed)
    assert listed.guest(mia) is not None
    allowed.write_text(allowed.read_text() + line + "\n", encoding="latin-1")
    assert listed.guest(mia) is None
    with pytest.raises(ConfigError, match="line 3"):
        keys.AllowList(allowed)


@pytest.mark.parametrize("public", ["", "abc", "'" * 40, "a" * 41, "a" * 40 + "\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, public: str) -> None:
    with pytest.raises(ConfigError, match="is not a public key"):
        keys.allow(tmp_path / "allowed", public, "mia", "viewer")
    with pytest.raises(ConfigError, match="is not a name"):
        keys.allow(tmp_path / "allowed", "a" * 40, "mia\n", "viewer")


@pytest.mark.skipif(os.name != "posix", reason="Windows protects the user's folder instead")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    keys.write_pair(tmp_path / "key", sockets.new_pair())
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match=f"has mode {mode:04o}"):
        keys.read_pair(tmp_path / "key")


def test_roles_include_what_lesser_ones_may() -> None:
    assert keys.Guest("x", "operator").may("viewer") and keys.Guest("x", "recorder").may("viewer")
    assert not keys.Guest("x", "viewer").may("recorder") and not keys.Guest("x", "recorder").may("operator")
