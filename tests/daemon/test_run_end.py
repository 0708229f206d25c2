"""The end of a run: the first order drains, the second stops; the first failure is the reason, and no room delays."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from care_live.daemon import run_end
from care_live.daemon.deadline import Deadlines
from care_live.daemon.run_end import OPENING, RunEnd
from care_live.daemon.run_metrics import Tally
from care_live.errors import SourceError, StageError, StoreError
from care_live.images import RunEnded
from tests.make.waiting import until


@dataclass
class Pipeline:
    """What the end looks at: which stages are at work."""

    storing: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(alive=False))
    intake: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(alive=False))
    busy: bool = True


@dataclass
class Store:
    """A store that notes what it was asked, and may fail at it."""

    error: Exception | None = None
    did: list[str] = field(default_factory=list)

    def complete(self) -> None:
        self._do("complete")

    def close(self) -> None:
        self._do("close")

    def _do(self, what: str) -> None:
        self.did.append(what)
        if self.error is not None:
            raise self.error


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """What a call waits for that hangs; set after the test, so that no thread is left."""
    over = threading.Event()
    yield over
    over.set()


def ending(pipeline: Any = None) -> RunEnd:
    end = RunEnd(Deadlines(), Tally())
    end.pipeline = pipeline
    return end


def test_the_first_order_drains_and_the_second_one_stops_at_once() -> None:
    end = ending()
    assert not (end.drains or end.at_once or end.by_person or end.is_overdue)
    end.order()
    assert (end.drains, end.at_once, end.by_person, end.is_overdue) == (True, False, True, False)
    end.order()
    assert end.at_once and end.is_overdue


def test_an_order_is_overdue_when_the_source_goes_on_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    end = ending()
    monkeypatch.setattr(run_end, "OVERDUE_S", -1.0)
    assert not end.is_overdue, "it was not ordered"
    end.order()
    assert end.is_overdue


def test_a_failure_ends_the_run_like_an_order_and_the_first_one_is_the_reason() -> None:
    end, first = ending(), StoreError("the disk is gone")
    end.fail(first)
    end.fail(StageError("later"))
    assert end.drains and not end.by_person
    assert end.reason(RunEnded("failed", "the camera")) is first


@pytest.mark.parametrize("how", ["failed", "stalled"])
def test_an_acquisition_that_ended_too_early_is_the_reason(how: Any) -> None:
    error = ending().reason(RunEnded(how, "no camera"))
    assert isinstance(error, SourceError) and str(error) == f"the acquisition {how}: no camera"


@pytest.mark.parametrize("ended", [None, RunEnded("finished"), RunEnded("aborted", "a person stopped it")])
def test_other_ends_are_no_failure(ended: RunEnded | None) -> None:
    assert ending().reason(ended) is None


def test_a_wait_ends_with_an_order_and_the_next_one_waits_again() -> None:
    end = ending()
    end.order()
    end.wait(600.0)
    begun = threading.Event()
    late = threading.Timer(0.05, lambda: (begun.set(), end.order()))
    late.start()
    end.wait(600.0)
    assert begun.is_set(), "the first order was seen already"
    late.join()


def test_a_pipeline_that_does_not_drain_in_time_is_a_failure() -> None:
    end = ending(Pipeline())
    end.await_drained(0.0)
    assert isinstance(end.failure, StageError) and "not drained within 0 s" in str(end.failure)


def test_a_second_order_ends_the_wait_for_the_pipeline_and_is_no_failure() -> None:
    end = ending(Pipeline())
    end.order()
    end.order()
    end.await_drained(600.0)
    assert end.failure is None


@pytest.mark.parametrize(
    ("drains", "storing", "shed", "did"),
    [
        (False, False, 0, ["complete"]),
        (True, False, 0, []),  # it was stopped
        (False, True, 0, []),  # what is written is not known
        (False, False, 1, []),  # a volume is to be restored again
    ],
)
def test_a_run_is_complete_only_where_nothing_is_left_to_do(
    drains: bool, storing: bool, shed: int, did: list[str]
) -> None:
    pipeline, store = Pipeline(), Store()
    pipeline.storing.alive = storing
    end = ending(pipeline)
    if drains:
        end.order()
    end.complete(store, shed=shed)  # type: ignore[arg-type]
    assert store.did == did


def test_a_store_that_fails_at_the_end_fails_the_run() -> None:
    for act in (lambda end, store: end.complete(store, shed=0), lambda end, store: end.close_store(store)):
        end, store = ending(), Store(StoreError("the disk is gone"))
        act(end, store)
        assert end.failure is store.error


def test_a_store_that_is_written_or_being_opened_is_not_closed(hanging: threading.Event) -> None:
    writing, store = ending(Pipeline(storing=SimpleNamespace(alive=True))), Store()
    writing.close_store(store)  # type: ignore[arg-type]
    deadlines = Deadlines()
    with pytest.raises(StageError):
        deadlines.within(OPENING, lambda: hanging.wait(600), 0.0)
    RunEnd(deadlines, Tally()).close_store(store)  # type: ignore[arg-type]
    assert store.did == []
    hanging.set()
    until(lambda: not deadlines.hung)


def test_rooms_are_closed_though_one_hangs_and_one_fails(
    hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_end, "CLOSE_S", 0.5)
    closed, tally = [], Tally()
    end = RunEnd(Deadlines(), tally)
    with contextlib.ExitStack() as closing:
        end.closes(closing, "first", lambda: closed.append("first"))
        end.closes(closing, "broken", lambda: 1 / 0)  # type: ignore[arg-type]
        end.closes(closing, "hung", lambda: hanging.wait(600))  # type: ignore[arg-type]
    until(lambda: closed == ["first"])
    warnings = " ".join(tally.status().warnings)
    assert "closing broken" in warnings and "closing hung" in warnings
    hanging.set()


def test_a_source_that_hangs_in_the_intake_is_left_to_the_end_of_the_process() -> None:
    closed: list[str] = []
    end = ending(Pipeline(intake=SimpleNamespace(alive=True)))
    with contextlib.ExitStack() as closing:
        for name in ("the source", "another room"):
            end.closes(closing, name, lambda name=name: closed.append(name))  # type: ignore[misc]
    assert closed == ["another room"]
