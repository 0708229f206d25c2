"""What any inference process owes its parent: it is ready first, answers in time, and its errors stay themselves."""

from __future__ import annotations

from typing import Any

import pytest

from care_live.config import RestoreConfig
from care_live.errors import ConfigError, ModelError, OutOfMemoryError, RestoreError
from care_live.reasons import whole
from care_live.worker import inference_link, protocol
from care_live.worker.inference_link import InferenceLink
from care_live.worker.liveness import LostError

READY = protocol.Ready((), 0)
DONE = protocol.Done((), (), {}, whole("stored"), 0)


class Scripted(InferenceLink):
    """A process whose answers are written down; None: it has ended."""

    def __init__(self, *answers: protocol.InferenceAnswer | None, lost: str = "", n_waits: float = 0) -> None:
        super().__init__(RestoreConfig())
        self._answers, self._lost, self._n_waits = list(answers), lost, n_waits
        self.cpu = 0.0

    is_dead = False

    @property
    def cpu_s(self) -> float:
        self.cpu += 1.0
        return self.cpu

    def send(self, message: protocol.InferenceRequest) -> None:
        raise AssertionError("nothing is sent here")

    def has_news(self, wait_s: float = 0.0) -> bool:
        self._n_waits -= 1
        return self._n_waits < 0

    def lost(self) -> str:
        return self._lost

    def end(self, deadline_s: float) -> str:
        return "exit code 0"

    def _next_answer(self) -> protocol.InferenceAnswer | None:
        return self._answers.pop(0)


def test_what_it_says_of_itself_is_kept_and_asked_for_once() -> None:
    link = Scripted(READY)
    assert link.ready is None
    assert link.await_ready(1.0) is READY and link.ready is READY
    assert link.await_ready(1.0) is READY, "it would have no second answer"


def test_a_result_before_it_is_ready_is_refused() -> None:
    link = Scripted(DONE)
    with pytest.raises(ModelError, match="Done before it was ready"):
        link.await_ready(1.0)
    assert link.ready is None


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("ModelError", ModelError),
        ("ConfigError", ConfigError),
        ("OutOfMemoryError", OutOfMemoryError),
        ("AnErrorOfANewerVersion", RestoreError),
    ],
)
def test_an_error_of_the_process_is_raised_as_itself(kind: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="why") as raised:
        Scripted(protocol.Failed(kind, "why")).receive()
    assert type(raised.value) is error


@pytest.mark.parametrize(("lost", "how"), [("hung: no sign of life", "hung: no sign of life"), ("", "died")])
def test_an_end_without_an_answer_says_how_it_was_lost(lost: str, how: str) -> None:
    with pytest.raises(LostError, match=how):
        Scripted(None, lost=lost).receive()


def test_it_is_looked_at_while_it_is_waited_for() -> None:
    assert Scripted(DONE, n_waits=5).receive() is DONE
    with pytest.raises(LostError, match="died in the middle"):
        Scripted(DONE, n_waits=5, lost="died in the middle").receive()


def test_an_answer_that_does_not_come_in_time_and_one_that_costs_too_much() -> None:
    with pytest.raises(LostError, match="no answer for 0 s"):
        Scripted(DONE, n_waits=float("inf")).receive(limit_s=0.0)
    with pytest.raises(LostError, match="it used 3 s of processor time"):
        Scripted(DONE, n_waits=float("inf")).receive(cpu_limit_s=3.0)
    assert Scripted(DONE, n_waits=2).receive(cpu_limit_s=3.0) is DONE


def test_by_itself_it_is_a_child_that_is_there_and_takes_planes() -> None:
    link: Any = Scripted()
    assert (link.process_id, link.host, link.is_absent, link.is_full) == (None, "", False, False)
    assert inference_link.InferenceLink.__abstractmethods__ >= {"send", "lost", "end"}
