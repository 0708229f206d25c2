"""Names for one run after the other."""

from __future__ import annotations

from itertools import islice

from care_live.source.run_names import run_names


def test_the_first_run_has_the_name_itself_and_taken_ones_are_passed_over() -> None:
    taken = {"evening-2", "evening-4"}
    assert list(islice(run_names("evening", taken.__contains__), 3)) == ["evening", "evening-3", "evening-5"]
    assert next(run_names("evening", {"evening"}.__contains__)) == "evening-2"


def test_a_name_is_looked_up_when_it_is_needed() -> None:
    taken: set[str] = set()
    names = run_names("evening", taken.__contains__)
    assert next(names) == "evening"
    taken.add("evening-2")
    assert next(names) == "evening-3"


def test_no_name_is_longer_than_a_run_id_may_be() -> None:
    names = list(islice(run_names("x" * 64), 12))
    assert max(map(len, names)) <= 64 and len(set(names)) == 12
