"""The command line: every command helps, and every mistake is one line with the right exit code."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections import defaultdict
from collections.abc import Iterator

import click
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from care_live.cli import FILES, SUMMARIES, cli
from care_live.daemon.health import Health
from care_live.daemon.run_metrics import DaemonStatus
from care_live.errors import ConfigError
from tests.make.networks import save_network
from tests.make.runs import command, movie, replay, settings


def toml(tree: dict) -> str:
    """Write settings as TOML; two levels are enough here."""
    return "\n".join(
        f"[{section}]\n" + "\n".join(f"{key} = {_value(value)}" for key, value in values.items())
        for section, values in tree.items()
    )


def _value(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return f"{{{', '.join(f'{key} = {_value(one)}' for key, one in value.items())}}}"
        case str():
            return f"'{value}'"
    return str(value)


def fails(done, code: int, *words: str) -> None:
    """One clear line on stderr, and nothing else."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("care-live: ")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[-1]


def test_every_command_has_a_file_and_a_summary():
    assert {name for names in FILES.values() for name in names} == set(SUMMARIES)


@pytest.mark.parametrize("name", list(SUMMARIES))
def test_every_command_explains_itself(name):
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output


def commands() -> dict[str, click.Command]:
    """Return every command by its full name, such as ``keys new``."""
    found = {}
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {child}": one for child, one in command.commands.items()}
    return found


@pytest.mark.parametrize("name", [name for name, command in commands().items() if isinstance(command, click.Group)])
def test_no_summary_of_a_command_is_cut(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"], terminal_width=80)
    assert "Commands:" in result.output
    assert "..." not in result.output.partition("Commands:")[2]


def options() -> list[tuple[str, click.Option]]:
    """Return every option that a command shows, with the command's name."""
    return [
        (name, option)
        for name, command in commands().items()
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]


def test_every_text_of_the_help_is_a_sentence():
    texts = {f"{name} {option.opts[-1]}": option.help for name, option in options()}
    texts |= {name: command.help for name, command in commands().items()} | SUMMARIES
    assert not [
        (name, text) for name, text in texts.items() if not (text and text[0].isupper() and text.strip()[-1] == ".")
    ]


def test_an_option_says_the_same_in_every_command():
    own = {
        ("train", "--run"),
        ("train", "--axes"),
        ("train", "--name"),
        ("evaluate", "--axes"),
        ("calibrate", "--axes"),
        ("domain", "--axes"),
        ("calibrate", "--dry-run"),
        ("restore", "--channel"),
        ("restore", "--config"),
    }  # they mean something else there
    texts = defaultdict(set)
    for name, option in options():
        if (name, option.opts[-1]) not in own:
            texts[option.opts[-1], option.is_flag].add(option.help)
    assert len(texts) > 30
    assert not {option: said for option, said in texts.items() if len(said) > 1}


def test_help_loads_nothing_heavy(tmp_path):
    import subprocess
    import sys

    code = "import sys; from care_live.cli import main\ntry: main(['--help'])\nfinally: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    for heavy in ("numpy", "zarr", "torch", "onnxruntime", "pydantic", "zmq"):
        assert f"'{heavy}'" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("restore", {"modle": "x.onnx"}, ["restore.modle"]),
        ("restore", {"model": "none.onnx"}, ["none.onnx"]),
        ("source", {"kind": "replay", "path": "nothing.tif"}, ["nothing.tif"]),
        ("source", {"kind": "replay", "path": "text.tif", "axes": "TZYX"}, ["text.tif"]),
        ("source", {"kind": "replay", "path": "movie.tif"}, ["axes"]),
        ("source", {"kind": "micromanager", "backend": "java", "port": 1}, ["port 1"]),
    ],
    ids=["unknown key", "missing model", "missing data", "no image", "axes unknown", "no Micro-Manager"],
)
def test_bad_settings_are_one_line(tmp_path, section, values, words):
    movie(tmp_path / "movie.tif", times=1)
    (tmp_path / "text.tif").write_text("no image")
    source = {"kind": "replay", "path": "movie.tif", "axes": "TZYX"}
    tree = settings(tmp_path, source) if section != "source" else settings(tmp_path, values)
    if section != "source":
        tree[section] = tree[section] | values
    (tmp_path / "config.toml").write_text(toml(tree))
    done = command("run", "config.toml", "-q", cwd=tmp_path)
    assert done.returncode in (1, 2)
    fails(done, done.returncode, *words)
    assert not list((tmp_path / "runs").glob("*/raw")) if (tmp_path / "runs").exists() else True


@pytest.mark.slow
@pytest.mark.parametrize(("section", "key"), [("publish", "bind"), ("daemon", "status_bind")])
def test_a_taken_port_is_one_line(tmp_path, section, key):
    movie(tmp_path / "movie.tif", times=1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        address = f"tcp://127.0.0.1:{port}" if section == "publish" else f"127.0.0.1:{port}"
        source = {"kind": "replay", "path": "movie.tif", "axes": "TZYX"}
        (tmp_path / "config.toml").write_text(toml(settings(tmp_path, source, **{section: {key: address}})))
        fails(command("run", "config.toml", "-q", cwd=tmp_path, timeout_s=120), 2, str(port))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a path through a file fails otherwise there")
def test_a_disk_that_cannot_be_written_is_one_line(tmp_path):
    movie(tmp_path / "movie.tif", times=1)
    (tmp_path / "file").write_text("a file where a folder is wanted")
    store = {"directory": str(tmp_path / "file" / "runs")}
    tree = settings(tmp_path, {"kind": "replay", "path": "movie.tif", "axes": "TZYX"}, store=store)
    (tmp_path / "config.toml").write_text(toml(tree))
    fails(command("run", "config.toml", "-q", cwd=tmp_path), 1, "runs")


@pytest.mark.parametrize("name", ["../x", "a.b", "", "x" * 65])
@pytest.mark.parametrize("source", [["run", "config.toml"], ["replay", "movie.tif"]], ids=["run", "replay"])
def test_a_run_id_that_no_folder_or_message_may_carry_is_one_line(tmp_path, monkeypatch, source, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").touch()
    result = CliRunner().invoke(cli, [*source, "--run-id", name, "-q"])
    assert isinstance(result.exception, ConfigError)
    assert "is invalid: wanted 1 to 64 characters of 0-9 A-Z a-z _ -" in str(result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml"]


@pytest.mark.slow
def test_what_an_interrupted_run_left_is_reported_at_the_end_and_a_finished_one_is_refused(tmp_path):
    movie(tmp_path / "movie.tif", times=3)
    tree = settings(tmp_path, replay(tmp_path / "movie.tif"), restore={"policy": "wait"})
    (tmp_path / "config.toml").write_text(toml(tree))
    again = ("run", "config.toml", "--run-id", "test", "-q")
    assert command(*again, cwd=tmp_path).returncode == 0
    fails(command(*again, cwd=tmp_path), 1, "has finished: 3 raw volumes are stored", "use another run_id, or --resume")
    assert "0 volumes" in command(*again, "--resume", cwd=tmp_path).stdout
    journal = tmp_path / "runs/test/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:1]))  # as if an old copy had been put back
    done = command(*again, cwd=tmp_path)
    assert "3 raw files of an interrupted run are in its quarantine" in done.stdout, done.stderr
    assert "3 raw files in quarantine: clean" in command("verify", tmp_path / "runs/test", cwd=tmp_path).stdout


@pytest.mark.slow
def test_offline_restoration_and_verification(tmp_path):
    movie(tmp_path / "movie.tif", times=2)
    settings(tmp_path, {})
    done = command("restore", "movie.tif", "out", "--axes", "TZYX", "--model", "tiny.onnx", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert command("verify", "out", cwd=tmp_path).returncode == 0
    done = command("restore", "movie.tif", "out.ome.tif", "--axes", "TZYX", "--model", "tiny.onnx", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert np.isfinite(tifffile.imread(tmp_path / "out.ome.tif")).all()


@contextlib.contextmanager
def daemon_whose_swap_is(*states: str) -> Iterator[str]:
    """Serve a status as that of a run whose swap goes through these states; give the address."""
    left, taken = list(states), []

    def status() -> DaemonStatus:
        taken.append(left.pop(0) if len(left) > 1 else left[0])
        return DaemonStatus(model="old", swap=taken[-1])

    health = Health("127.0.0.1:0", status, lambda: True, {"/swap": lambda order: "loading"})
    health.start()
    try:
        yield health.address
    finally:
        health.stop()


@pytest.mark.parametrize(
    ("states", "wait_s", "code", "words"),
    [
        (("loading", "trying", "took over; it differs by 1 %"), 90, 0, "took over"),
        (("loading", "refused: no network"), 90, 1, "the run goes on with old: refused: no network"),
        (("took over; long ago", "rolled back"), 90, 0, "took over; long ago"),
        (("loading",), 1, 1, "nothing is decided after 1 s (loading)"),
    ],
    ids=["taken", "refused", "first answer", "open"],
)
def test_swap_waits_for_the_outcome(tmp_path, states, wait_s, code, words):
    model = save_network(tmp_path / "new.onnx", filters=2)
    with daemon_whose_swap_is(*states) as address:
        done = CliRunner().invoke(cli, ["swap", str(model), "--wait", str(wait_s), "--address", address])
    assert (done.exit_code, words in f"{done.output}{done.exception}") == (code, True), done.output


def test_a_proxy_for_the_web_does_not_stand_before_a_daemon(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with daemon_whose_swap_is("loading") as address:
        done = CliRunner().invoke(cli, ["status", "--address", address])
    assert (done.exit_code, "loading" in done.output) == (0, True), done.output


def test_the_status_leaves_out_what_is_empty_but_not_as_json():
    with daemon_whose_swap_is("loading") as address:
        text, as_json = (CliRunner().invoke(cli, ["status", "--address", address, *more]) for more in ([], ["--json"]))
    assert "[]" not in text.output and "loading" in text.output
    assert {"warnings", "shortfalls"} <= json.loads(as_json.output).keys()


def test_a_swap_for_a_channel_that_no_network_restores_ends_with_2(tmp_path):
    def refused(order):
        raise ConfigError("no network restores a channel 'Cy5'")

    model = save_network(tmp_path / "new.onnx", filters=2)
    health = Health("127.0.0.1:0", DaemonStatus, lambda: True, {"/swap": refused})
    health.start()
    try:
        done = CliRunner().invoke(cli, ["swap", str(model), "--channel", "Cy5", "--address", health.address])
    finally:
        health.stop()
    assert isinstance(done.exception, ConfigError) and "restores a channel 'Cy5'" in str(done.exception)


def test_swap_may_only_give_the_order(tmp_path):
    model = save_network(tmp_path / "new.onnx", filters=2)
    with daemon_whose_swap_is("loading") as address:
        done = CliRunner().invoke(cli, ["swap", str(model), "--wait", "0", "--address", address])
    assert (done.exit_code, done.output) == (0, "loading\n")


def test_status_without_a_daemon_is_one_line(tmp_path):
    fails(command("status", "--address", "127.0.0.1:1", cwd=tmp_path), 1, "127.0.0.1:1")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "either a MODEL or --rollback"),
        (("--rollback", "--channel", "FITC"), "of whichever channel it was: leave --channel out"),
    ],
    ids=["nothing", "way back of one channel"],
)
def test_an_invalid_swap_is_refused_before_a_daemon_is_asked(given, words):
    with pytest.raises(ConfigError, match=words):
        CliRunner().invoke(
            cli, ["swap", *given, "--address", "127.0.0.1:1"], catch_exceptions=False, standalone_mode=False
        )
