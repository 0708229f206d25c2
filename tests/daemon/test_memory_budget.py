"""Bytes of volumes in flight."""

from care_live.daemon.memory_budget import MemoryBudget
from care_live.images import VolumeKey


def test_memory_comes_back_when_the_last_holder_lets_go():
    ledger = MemoryBudget(100)
    key = VolumeKey(0)
    assert ledger.admit(80)
    assert not ledger.admit(80)
    ledger.hold(key)
    ledger.hold(key)
    ledger.release(key, 80)
    assert not ledger.admit(80)
    ledger.release(key, 80)
    assert ledger.admit(80)
