"""Reasons become words in one place; a reason or figure of a newer daemon is no error."""

from __future__ import annotations

import pickle
from typing import get_args

import pytest

from care_live.reasons import Choice, Reason, how, streamed, whole


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_reason_has_words(reason: Reason) -> None:
    words = str(whole(reason))
    assert len(words) > 10
    assert words != reason.replace("-", " ")


def test_figures_and_details_are_in_the_words() -> None:
    choice = whole("not-sooner", streamed_ms=230.4, whole_ms=241.0)
    assert str(choice) == "age 230 ms streamed, 241 ms whole: planes come too fast, or are too few"
    assert str(whole("operator", "operator Softmax has no z rule")).endswith(": operator Softmax has no z rule")


def test_a_choice_is_the_same_with_other_figures() -> None:
    one, other = whole("not-sooner", streamed_ms=22.0, whole_ms=24.0), whole("not-sooner", streamed_ms=230.0)
    assert one.same_as(other)
    assert not one.same_as(streamed("sooner", streamed_ms=22.0))
    assert not one.same_as(None)


def test_what_a_newer_daemon_says_is_shown_as_it_is() -> None:
    assert str(Choice("whole", "moon-phase")) == "moon phase"  # type: ignore[arg-type]
    assert str(Choice("stream", "sooner", {"other_ms": 1.0})) == "age nan ms streamed, nan ms whole"


def test_it_crosses_a_pipe() -> None:
    choice = whole("no-memory", need_mib=900.0, have_mib=100.0)
    assert pickle.loads(pickle.dumps(choice)) == choice


def test_what_the_status_says() -> None:
    assert how(None) == ""
    assert how(streamed("asked")) == "streamed"
    assert how(whole("plane-missing")) == "a plane is missing"
