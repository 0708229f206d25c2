"""Stacks for two workers."""

from __future__ import annotations

from care_live.images import VolumeKey
from tests.make.networks import noisy
from tests.make.records import volume


def stacks(p: int, n: int = 4) -> list:
    return [volume(noisy((3, 16, 16), seed=t) * (t + 1), VolumeKey(t, p)) for t in range(n)]
