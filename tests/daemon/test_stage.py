"""A stage's thread: its error and its end."""

import threading

import pytest

from care_live.daemon.stage import Stage
from care_live.errors import StageError


def test_a_stage_keeps_its_error_and_tells_its_owner():
    errors: list[BaseException] = []

    def fail() -> None:
        raise ValueError("broken")

    stage = Stage("broken", fail, errors.append)
    stage.start()
    stage.join(60)
    assert isinstance(stage.error, ValueError)
    assert errors == [stage.error]


def test_a_stage_that_misses_its_deadline_is_an_error():
    free = threading.Event()
    stage = Stage("slow", free.wait, lambda error: None)
    stage.start()
    with pytest.raises(StageError, match="slow did not end within"):
        stage.join(0.05)
    free.set()
    stage.join(60)
