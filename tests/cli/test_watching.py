"""``care-live view``, ``record`` and ``keys`` as a person types them, against a daemon's real port."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from care_live.cli import cli
from care_live.errors import ConfigError, SourceError
from care_live.publish import Publisher
from care_live.store import RunReader
from care_live.viewer import terminal
from care_live.wire import keys
from tests.make import samples
from tests.make.waiting import until


def typed(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=True)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(samples.config()) as opened:
        opened.start(samples.started(), samples.NETWORK)
        yield opened


def test_one_look_is_a_page_and_with_json_a_record(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "look_once", partial(terminal.look_once, timeout_s=90.0))
    publisher.publish(samples.restored(2))
    page, record = typed("view", publisher.address_pull, "--once"), typed("view", publisher.address_pull, "--json")
    assert page.exit_code == 0 and "run-1" in page.output
    assert json.loads(record.output)["run"] == "run-1"


def test_where_no_daemon_answers_the_command_fails_and_names_the_address() -> None:
    done = typed("view", "tcp://127.0.0.1:9", "--once")
    assert done.exit_code != 0 and isinstance(done.exception, SourceError)
    assert "tcp://127.0.0.1:9" in str(done.exception) and "bind_pull" in str(done.exception)


def test_half_a_pair_of_keys_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    typed("keys", "new", tmp_path / "mine")
    for command in (["view", "tcp://127.0.0.1:9"], ["record", "tcp://127.0.0.1:9", tmp_path / "runs"]):
        done = typed(*command, "--key", tmp_path / "mine")
        assert isinstance(done.exception, ConfigError), done.output
    assert not (tmp_path / "runs").exists()


def test_a_recording_has_every_volume_and_says_so(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # it may be called in the main thread only
    done: list[Result] = []
    recorder = threading.Thread(target=lambda: done.append(typed("record", publisher.address_pull, tmp_path)))
    recorder.start()
    until(lambda: publisher.n_watchers > 0, 90)
    for t in range(3):
        publisher.publish(samples.restored(t))
    publisher.end(samples.ENDED)
    recorder.join(200)
    assert done and done[0].exit_code == 0, done
    assert "3 raw, 3 restored volumes, 0 gaps, run finished" in done[0].output
    assert len(RunReader(tmp_path / "run-1").keys("restored")) == 3


def test_a_key_is_written_once_allowed_by_a_name_and_revoked_by_it(tmp_path: Path) -> None:
    secret, allowed = tmp_path / "mine", tmp_path / "allowed"
    made = typed("keys", "new", secret)
    public = keys.read_public(str(keys.public_file(secret)))
    assert made.exit_code == 0 and public in made.output
    assert keys.read_pair(secret).secret not in made.output, "the secret key is on no screen"
    again = typed("keys", "new", secret)
    assert isinstance(again.exception, ConfigError)
    assert (
        typed("keys", "allow", keys.public_file(secret), "mia", "--list", allowed).output
        == f"{allowed}: mia is viewer\n"
    )
    assert public in allowed.read_text()
    revoked = typed("keys", "revoke", "mia", "--list", allowed)
    assert revoked.output == f"{allowed}: mia (viewer) is not allowed any more\n"
    assert public not in allowed.read_text()


def test_a_role_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    done = typed("keys", "allow", "a" * 40, "mia", "--role", "king", "--list", tmp_path / "allowed")
    assert done.exit_code == 2 and "king" in done.output and not (tmp_path / "allowed").exists()
