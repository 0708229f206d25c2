"""An acquisition seen from outside of its engine: what ends it, and in which words the end is reported."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import pytest

from care_live.source import engine_supervisor
from care_live.source.engine_supervisor import Supervisor, Verdict


@dataclass
class Acquisition:
    """An acquisition that ends after some turns, or once it is aborted."""

    turns: float = float("inf")
    error: str | None = None
    n_aborts: int = 0
    waited_s: list[float] = field(default_factory=list)

    def wait(self, timeout_s: float) -> bool:
        self.waited_s.append(timeout_s)
        self.turns -= 1
        return self.turns < 0 or self.n_aborts > 0

    def abort(self) -> None:
        self.n_aborts += 1


@dataclass
class Feed:
    """What was recorded of it."""

    n_planned: int = 4
    n_came: int = 4
    quiet_s: float = 0.0
    daemon_silent_s: float = 0.0

    def verdict(self) -> tuple[str, str]:
        return "finished", "in the feed's words"


def watched(acquisition: Acquisition, feed: Feed, *, quiet_s: float = 30.0, stop: str = "") -> Verdict:
    supervisor = Supervisor(quiet_s=quiet_s)
    if stop:
        supervisor.stop(stop)
    of: Any = feed
    return supervisor.watch(acquisition, of)


def test_one_that_ends_by_itself_is_not_aborted_and_its_feed_says_how_it_ended() -> None:
    acquisition = Acquisition(turns=3)
    assert watched(acquisition, Feed()) == ("finished", "in the feed's words")
    assert acquisition.n_aborts == 0 and len(acquisition.waited_s) == 4


def test_an_error_of_the_engine_goes_before_missing_planes() -> None:
    assert watched(Acquisition(turns=0, error="no stage"), Feed(n_came=1)) == ("failed", "no stage")


def test_missing_planes_without_an_error_are_a_failure() -> None:
    failed, detail = watched(Acquisition(turns=0), Feed(n_came=1))
    assert failed == "failed" and "1 of 4 planes without an error" in detail


def test_an_order_aborts_it_with_the_reason_that_was_given() -> None:
    acquisition = Acquisition()
    assert watched(acquisition, Feed(), stop="a person stopped it") == ("aborted", "a person stopped it")
    assert acquisition.n_aborts == 1 and acquisition.waited_s[-1] == 10.0, "it may take some time to end"


@pytest.mark.parametrize(("n_came", "quiet_s", "limit_s"), [(1, 2.1, 2.0), (0, 15.1, 2.0), (0, 20.1, 20.0)])
def test_silence_ends_it_and_before_the_first_frame_stages_have_more_time(
    n_came: int, quiet_s: float, limit_s: float
) -> None:
    reason, detail = watched(Acquisition(), Feed(n_came=n_came, quiet_s=quiet_s), quiet_s=limit_s)
    assert reason == "stalled" and f"no frame for {quiet_s:.1f} s" in detail
    shorter = Acquisition(turns=2)
    assert watched(shorter, Feed(quiet_s=quiet_s - 0.2 if n_came else 0.0), quiet_s=limit_s).reason == "finished"


def test_before_the_first_frame_a_shorter_silence_than_stages_need_is_no_stall() -> None:
    acquisition = Acquisition(turns=2)
    assert watched(acquisition, Feed(n_came=0, quiet_s=14.9), quiet_s=2.0).reason == "failed", "it ended by itself"
    assert acquisition.n_aborts == 0


@pytest.mark.parametrize("how", ["silent", "orphaned"])
def test_it_ends_with_its_daemon(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    acquisition, feed = Acquisition(), Feed(daemon_silent_s=60.1 if how == "silent" else 0.0)
    supervisor = Supervisor(quiet_s=30.0)
    if how == "orphaned":
        parent = os.getppid()
        monkeypatch.setattr(engine_supervisor.os, "getppid", lambda: parent + 1)
    of: Any = feed
    assert supervisor.watch(acquisition, of) == ("aborted", "the daemon has ended")
    assert acquisition.waited_s[-1] == (1.0 if how == "orphaned" else 10.0), "the next daemon waits for the devices"
    assert supervisor.patience_s == (0.0 if how == "orphaned" else 30.0)
