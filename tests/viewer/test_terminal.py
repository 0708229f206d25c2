"""The terminal's view of a real publisher."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from rich.console import Console

from care_live.cli.watching import view_command
from care_live.errors import ConfigError, SourceError
from care_live.publish import Publisher
from care_live.viewer import terminal
from care_live.wire.daemon_status import Status
from care_live.wire.messages import ONE_VOXEL
from tests.make import samples


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(samples.config()) as published:
        published.start(samples.started(), samples.NETWORK)
        published.heartbeat(
            Status(planes_per_s=97.5, queue_depths={"restore": 2}, planes_lost=1, volumes_skipped=3, disk_s_left=5400.0)
        )
        yield published


def test_one_look_as_json_says_all_that_a_script_needs(publisher: Publisher) -> None:
    for t in range(3):
        publisher.publish(samples.restored(t))
    result = CliRunner().invoke(view_command, [publisher.address_pull, "--once", "--json"], catch_exceptions=False)
    facts = json.loads(result.output)
    assert result.exit_code == 0
    assert facts["connected"] is True and facts["run"] == "run-1" and facts["model"] == "worm3d"
    assert (facts["t"], facts["state"], facts["flags"], facts["planes"]) == (2, "provisional", ["saturated"], "4/4")
    assert facts["limits"] == "not for intensity quantification"
    assert facts["skipped_by_system"] == 3 and facts["skipped_here"] == 0 and facts["planes_lost"] == 1
    assert facts["disk_s_left"] == 5400.0 and facts["planes_per_s"] == 97.5
    assert 0 <= facts["age_s"] < 300


def test_the_page_tells_who_left_out_what_and_always_the_limits(publisher: Publisher) -> None:
    publisher.publish(samples.restored(4))
    console = Console(width=110, file=io.StringIO())
    with console.capture() as captured:
        console.print(terminal.page(terminal.look_once(publisher.address_pull)))
    text = captured.get()
    assert "not for intensity quantification" in text
    assert "3 by the system" in text and "0 by this viewer" in text
    assert "1 planes never came" in text
    assert "1 h 30 min left" in text
    assert "t=4 position=0 channel=0" in text


HOSTILE = "[/old] [blink]note[/] \x1b[2J\x1b]0;owned\x07\u202e"


@pytest.mark.parametrize("once", [["--once"], ["--once", "--json"]], ids=["screen", "json"])
def test_a_note_with_markup_or_commands_for_the_terminal_is_shown_as_it_is(once: list[str]) -> None:
    with Publisher(samples.config()) as published:
        published.heartbeat(Status(note=HOSTILE, queue_depths={"[/red]\x1b[31m": 1}))
        result = CliRunner().invoke(view_command, [published.address_pull, *once], catch_exceptions=False)
    assert result.exit_code == 0
    assert "[/old] [blink]note[/]" in result.output and "[/red]" in result.output
    assert "\x1b" not in result.output and "\x07" not in result.output and "\u202e" not in result.output


def test_rates_come_from_the_counts_that_the_daemon_gives(publisher: Publisher) -> None:
    """A viewer that sees every second volume still knows how many there are."""
    with terminal.Subscriber(publisher.address_pull, view=ONE_VOXEL) as subscriber:
        watching = terminal.TerminalView(subscriber)
        clock = iter(range(100))
        for t in (0, 1, 2, 3):
            publisher.publish(samples.restored(t))
            if t % 2 == 0:
                while watching.newest is None or watching.newest.key.t != t:
                    watching.take(5, clock_s=lambda: float(next(clock)))
        assert watching.facts(time.monotonic())["volumes_per_s"] == 2.0
        assert subscriber.n_skipped == 1


def test_before_the_first_run_there_is_nothing_to_wait_for() -> None:
    with Publisher(samples.config()) as idle:
        began = time.monotonic()
        facts = terminal.look_once(idle.address_pull, timeout_s=200.0)
        assert time.monotonic() - began < 100.0, "it waited for a volume"
    assert facts["connected"] is True and facts["run"] is None and facts["t"] is None


def test_no_daemon_is_one_clear_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal.look_once, "__kwdefaults__", {"keys": None, "timeout_s": 0.2})
    result = CliRunner().invoke(view_command, ["tcp://127.0.0.1:1", "--once"])
    assert isinstance(result.exception, SourceError)
    assert "no daemon answers at tcp://127.0.0.1:1" in str(result.exception)


def test_what_is_no_address_is_a_usage_error() -> None:
    result = CliRunner().invoke(view_command, ["nonsense", "--once"])
    assert isinstance(result.exception, ConfigError) and result.exception.exit_code == 2
