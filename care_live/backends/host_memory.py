"""How much memory this machine has, and has left."""

from __future__ import annotations

import psutil


def available_bytes() -> int:
    """Return what programs may still take without swapping."""
    return int(psutil.virtual_memory().available)


def total_bytes() -> int:
    """Return what the machine has."""
    return int(psutil.virtual_memory().total)


def own_bytes() -> int:
    """Return what this process has taken for itself, without memory that it shares with others."""
    info = psutil.Process().memory_info()
    return int(getattr(info, "private", 0) or info.rss - getattr(info, "shared", 0))
