"""Waiting for what happens in another thread."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], object], deadline_s: float = 60.0) -> None:
    """Wait until a condition holds; the test fails where it does not within the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
