"""When inference counts as hung: silent although it has something to do, never just slow."""

from __future__ import annotations

import multiprocessing

import pytest

from care_live.worker.liveness import LastSeen, Pulse, Silence, limit_s

IDLE = LastSeen(n_handled=3, n_begun=5, n_ended=5, slowest_s=0.5, cpu_s=10.0)
RUNS = IDLE._replace(n_begun=6)


def silence(*looks: LastSeen, owes: bool = True, on_device: bool = False, every_s: float = 0.5) -> float:
    """Return the silence after looks at regular times."""
    vigil = Silence()
    return [vigil.look(seen, i * every_s, owes=owes, on_device=on_device) for i, seen in enumerate(looks)][-1]


def test_only_who_owes_something_is_silent() -> None:
    assert silence(*[RUNS] * 9) == 4.0
    assert silence(*[RUNS] * 9, owes=False) == 0.0


@pytest.mark.parametrize("sign", ["n_handled", "n_begun", "n_ended", "cpu_s"])
def test_every_sign_of_life_ends_the_silence(sign: str) -> None:
    moved = RUNS._replace(**{sign: getattr(RUNS, sign) + 1})
    assert silence(*[RUNS] * 9, moved) == 0.0
    assert silence(*[RUNS] * 9, moved, moved) == 0.5


def test_waiting_for_a_device_is_no_sign_of_life_however_busily() -> None:
    busy = [RUNS._replace(cpu_s=10.0 + i) for i in range(9)]
    assert silence(*busy) == 0.0
    assert silence(*busy, on_device=True) == 4.0
    opening = [IDLE._replace(cpu_s=10.0 + i) for i in range(9)]
    assert silence(*opening, on_device=True) == 0.0


def test_the_time_that_this_process_stood_still_itself_does_not_count() -> None:
    assert silence(RUNS, RUNS, every_s=3600.0) == 1.0


def test_it_may_be_silent_since_long_before_it_was_asked() -> None:
    vigil = Silence()
    vigil.look(IDLE, 0.0, owes=False)
    assert vigil.look(IDLE, 50.0, owes=True) == 0.0
    assert vigil.look(IDLE, 50.5, owes=True) == 0.5


def test_a_run_on_a_device_is_given_five_times_the_slowest() -> None:
    assert limit_s(2.0, RUNS, on_device=False) == 2.0
    assert limit_s(2.0, RUNS, on_device=True) == 2.5
    assert limit_s(2.0, RUNS._replace(slowest_s=0.01), on_device=True) == 2.0
    assert limit_s(2.0, LastSeen(n_begun=1), on_device=True) == 60.0
    assert limit_s(2.0, IDLE, on_device=True) == 2.0


def test_a_pulse_counts_runs_even_of_those_that_fail() -> None:
    pulse = Pulse(multiprocessing.get_context("spawn"))
    with pytest.raises(ValueError, match="a run"), pulse.running():
        assert pulse.read(0.0).runs
        raise ValueError("a run that fails")
    pulse.handled()
    seen = pulse.read(1.5)
    assert (seen.n_handled, seen.n_begun, seen.n_ended, seen.runs, seen.cpu_s) == (1, 1, 1, False, 1.5)
    assert seen.slowest_s > 0
