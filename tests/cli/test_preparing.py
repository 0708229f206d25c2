"""``care-live prepare``: what it says before light is spent, when it refuses, and how its network is offered."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from care_live.cli import cli, health
from care_live.errors import CareLiveError, ConfigError
from care_live.prepare import prepared_network

MICROSCOPE = '[source]\nkind = "micromanager"\n[source.acquisition]\nz_planes = 8\n'
VIRTUAL = '[source]\nkind = "virtual"\nshape_px = [64, 64]\n[source.acquisition]\nz_planes = 8\n'


class Gate(SimpleNamespace):
    def sentence(self) -> str:
        return "2.1 dB better"


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A preparation that is done at once, and what it was asked."""
    outcome = SimpleNamespace(
        network=tmp_path / "new.onnx", gate=Gate(is_better=True, before="the old one"), can_swap=True, asked=[]
    )

    def prepare(config: Any, folder: Path, watch: Any, *, commit: str) -> SimpleNamespace:
        outcome.asked.append((config, folder))
        return outcome

    monkeypatch.setattr(prepared_network, "prepare", prepare)
    return outcome


def typed(tmp_path: Path, *arguments: str, config: str = VIRTUAL) -> Result:
    path = tmp_path / "config.toml"
    path.write_text(config + f'[store]\ndirectory = "{(tmp_path / "runs").as_posix()}"\n')
    return CliRunner().invoke(cli, ["prepare", str(path), *arguments])


def test_the_plan_is_said_and_nothing_is_exposed(tmp_path: Path, prepared: SimpleNamespace) -> None:
    done = typed(tmp_path, "--plan", "--minutes", "3")
    assert done.exit_code == 0 and "trains for 3 minutes" in done.output
    assert not prepared.asked and not (tmp_path / "runs").exists()


def test_minutes_and_folder_reach_the_preparation(tmp_path: Path, prepared: SimpleNamespace) -> None:
    done = typed(tmp_path, "--minutes", "3", "--folder", str(tmp_path / "mine"))
    assert done.exit_code == 0, done.output
    ((config, folder),) = prepared.asked
    assert (config.prepare.minutes, folder) == (3.0, tmp_path / "mine")
    assert "verdict: 2.1 dB better" in done.output
    assert f'restore.model = "{prepared.network.as_posix()}"' in done.output
    assert "care-live swap" in done.output and "--address" not in done.output


def test_a_folder_of_its_own_lies_in_the_store(tmp_path: Path, prepared: SimpleNamespace) -> None:
    assert typed(tmp_path).exit_code == 0
    ((_, folder),) = prepared.asked
    assert folder.parent == tmp_path / "runs" and folder.name.startswith("prepare-")


def test_a_network_that_is_not_better_is_kept_and_offered_to_no_run(tmp_path: Path, prepared: SimpleNamespace) -> None:
    prepared.gate.is_better = False
    done = typed(tmp_path, "--swap")
    assert isinstance(done.exception, CareLiveError) and "not better than the old one" in str(done.exception)
    assert "care-live swap" not in done.output and "restore.model" not in done.output


def test_results_of_another_kind_can_not_be_swapped_into_a_run(tmp_path: Path, prepared: SimpleNamespace) -> None:
    prepared.can_swap = False
    done = typed(tmp_path, "--swap")
    assert done.exit_code == 0 and "can't take it" in done.output and "care-live swap" not in done.output


def test_with_swap_the_running_daemon_is_asked_and_its_outcome_is_said(
    tmp_path: Path, prepared: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(health, "ask", lambda *what: asked.append(what) or "on trial")
    monkeypatch.setattr(health, "outcome_of_swap", lambda address, wait_s: "it has taken over")
    done = typed(tmp_path, "--swap")
    assert done.exit_code == 0 and "on trial\nit has taken over\n" in done.output
    ((_, path, what),) = asked
    assert (path, what) == ("/swap", {"model": str(prepared.network), "channel": ""})


@contextmanager
def daemon_that_says(code: int) -> Iterator[str]:
    """Give the settings of a daemon whose status port answers with a code of HTTP."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f'[daemon]\nstatus_bind = "127.0.0.1:{server.server_port}"\n'
        finally:
            server.shutdown()
            thread.join(60)


@pytest.mark.parametrize(("kind", "is_refused"), [(MICROSCOPE, True), (VIRTUAL, False)], ids=["real", "virtual"])
@pytest.mark.parametrize("code", [200, 503], ids=["well", "not well"])
def test_a_microscope_that_a_daemon_drives_is_not_touched(
    tmp_path: Path, prepared: SimpleNamespace, kind: str, is_refused: bool, code: int
) -> None:
    with daemon_that_says(code) as status:
        done = typed(tmp_path, config=kind + status)
    assert isinstance(done.exception, ConfigError) == is_refused, done.output
    assert bool(prepared.asked) != is_refused


def test_a_daemon_that_is_too_busy_to_answer_has_its_microscope(
    tmp_path: Path, prepared: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("care_live.cli.preparing.ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        status = f'[daemon]\nstatus_bind = "127.0.0.1:{silent.getsockname()[1]}"\n'
        done = typed(tmp_path, config=MICROSCOPE + status)
    assert isinstance(done.exception, ConfigError), done.output
    assert not prepared.asked


def test_a_status_port_where_nothing_listens_is_no_daemon(tmp_path: Path, prepared: SimpleNamespace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: no other program gets it
        status = f'[daemon]\nstatus_bind = "127.0.0.1:{taken.getsockname()[1]}"\n'
        done = typed(tmp_path, config=MICROSCOPE + status)
    assert done.exit_code == 0, done.output
    assert prepared.asked
