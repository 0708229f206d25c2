"""Bytes of volumes in flight."""

from care_live.daemon.memory_budget import MemoryBudget
from care_live.images import VolumeKey


def test_memory_comes_back_when_the_last_holder_lets_go():
    budget = MemoryBudget(100)
    key = VolumeKey(0)
    assert budget.admit(80)
    assert not budget.admit(80)
    budget.hold(key)
    budget.hold(key)
    budget.release(key, 80)
    assert not budget.admit(80)
    budget.release(key, 80)
    assert budget.admit(80)


def test_what_was_admitted_and_did_not_begin_comes_back():
    budget = MemoryBudget(100)
    assert budget.admit(80)
    budget.give_back(80)
    assert budget.used_bytes == 0
    assert budget.admit(80)
