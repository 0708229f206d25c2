"""Calls that never return."""

import math
import threading

import pytest

from care_live.daemon.deadline import Deadlines
from care_live.errors import StageError


def test_a_call_that_hangs_is_waited_for_no_longer_than_its_deadline():
    deadlines, free = Deadlines(), threading.Event()
    assert deadlines.within("quick", lambda: 7, 5.0) == 7
    with pytest.raises(ZeroDivisionError):
        deadlines.within("broken", lambda: 1 // 0, 5.0)
    with pytest.raises(StageError, match="driver did not return"):
        deadlines.within("driver", free.wait, 0.05)
    with pytest.raises(StageError, match=r"stage did not return within \d+\.\d s: it hangs"):
        deadlines.within("stage", free.wait, math.inf, given_up=lambda: True)
    assert deadlines.hung == ("driver", "stage")
    free.set()
    while deadlines.hung:
        pass
