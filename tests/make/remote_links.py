"""Stacks for workers on other machines, and a range for all of them."""

from __future__ import annotations

from care_live.images import Volume, VolumeKey
from tests.make.networks import noisy
from tests.make.records import volume


def stack(t: int, shape: tuple[int, int, int] = (6, 24, 20)) -> Volume:
    return volume(noisy(shape, seed=t) * (t + 1), VolumeKey(t, 0))


FIXED = {"mode": "fixed", "low_counts": 90.0, "high_counts": 900.0}
