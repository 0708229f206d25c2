"""A store that refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from care_live.images import VolumeKey
from care_live.store import disk

KEYS = [VolumeKey(t) for t in range(3)]


def refuse(monkeypatch: pytest.MonkeyPatch, refuses: Callable[[], bool]) -> None:
    """Let the disk look full for as long as `refuses` says so."""
    monkeypatch.setattr(disk, "free_bytes", lambda path: 0 if refuses() else 2**40)
