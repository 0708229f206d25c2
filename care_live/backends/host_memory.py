"""How much memory this machine has, and has left."""

from __future__ import annotations

import psutil


def available_bytes() -> int:
    """Return what programs may still take without swapping."""
    return int(psutil.virtual_memory().available)


def total_bytes() -> int:
    """Return what the machine has."""
    return int(psutil.virtual_memory().total)
