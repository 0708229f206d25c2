"""What a command prints to be copied is what a shell reads again."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from care_live.cli import cli
from care_live.cli.typed import typed
from care_live.config import load
from care_live.wire.keys import read_server

WORDS = ("care-live", "restore", "mein Mikroskop µ/worm.onnx", "worm.onnx")
REMOTE = Path(__file__).resolve().parents[2] / "configs" / "remote.toml"


def test_a_path_with_blanks_is_quoted_and_no_other() -> None:
    assert shlex.split(typed(*WORDS, system="posix")) == list(WORDS)
    assert typed(*WORDS, system="posix").endswith(" worm.onnx")
    assert typed(*WORDS, system="nt") == 'care-live restore "mein Mikroskop µ/worm.onnx" worm.onnx'


def test_the_commands_beside_a_remote_tap_make_the_keys_that_its_config_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = [line.strip("# ") for line in REMOTE.read_text(encoding="utf-8").splitlines()]
    commands = [shlex.split(line) for line in said if line.startswith("care-live keys ")]
    assert len(commands) == 3
    for _, *arguments in commands:
        assert CliRunner().invoke(cli, arguments).exit_code == 0
    source = load(REMOTE).source
    assert source.kind == "remote"
    server = read_server(source.server_key_file, source.authorized_keys_file)
    assert server is not None
    guest = server.allowed.guest(Path("tap.key.pub").read_text(encoding="ascii").strip())
    assert guest is not None and (guest.name, guest.role) == ("microscope", "operator")
