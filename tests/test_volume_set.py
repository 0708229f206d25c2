"""Which volumes there are, in little memory."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from care_live.images import VolumeKey
from care_live.volume_set import VolumeSet

keys = st.builds(VolumeKey, st.integers(0, 12), st.integers(0, 2), st.integers(0, 1))


@given(st.lists(keys))
def test_it_is_a_set(added: list[VolumeKey]) -> None:
    volumes = VolumeSet(added)
    every = [VolumeKey(t, p, c) for t in range(14) for p in range(3) for c in range(2)]
    assert {key for key in every if key in volumes} == set(added)
    assert volumes >= added
    assert (volumes >= every) is False


def test_a_long_run_takes_no_memory() -> None:
    tracemalloc.start()
    volumes = VolumeSet(VolumeKey(t) for t in range(50_000))
    n_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert VolumeKey(49_999) in volumes
    assert n_bytes < 50_000
