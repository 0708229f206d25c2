"""What a run that went to its end lacks."""

import pytest

from care_live.daemon.run_metrics import DaemonStatus
from care_live.daemon.shortfall import shortfalls


@pytest.mark.parametrize(
    ("what", "stopped", "words"),
    [
        ({}, False, ""),
        ({"lost_planes": 8, "dropped_planes": {"unplanned": 8}}, False, "8 of 8 planned planes never came; 8 planes"),
        ({"lost_planes": 3}, True, ""),
        ({"dropped_planes": {"duplicate": 2}}, False, "2 planes came and have no place (2 duplicate)"),
        ({"dropped_planes": {"wrong-shape": 2}}, True, "2 wrong-shape"),
        ({"refused_planes": 4}, True, "4 planes found no memory"),
        ({"shed": 1}, False, ""),
        ({"incomplete_before": 2}, False, "2 volumes of an earlier session of this run lack planes"),
        ({"incomplete_before": 2}, True, ""),
        ({"unrestored": 1}, False, "1 volumes could not be restored"),
        ({"warnings": ("publishing failed: gone",)}, True, "publishing failed"),
    ],
)
def test_what_a_run_lacks(what: dict, stopped: bool, words: str):
    status = DaemonStatus(planned_planes=8, **what)
    assert words in "; ".join(shortfalls(status, stopped=stopped))
    assert bool(words) == bool(shortfalls(status, stopped=stopped))
