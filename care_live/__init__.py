"""care_live restores fluorescence microscopy volumes while they are being acquired."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load ``care_live.subscribe`` when it is first asked for, so that importing care_live stays fast."""
    if name == "subscribe":
        return import_module("care_live.publish.subscriber").subscribe
    raise AttributeError(f"module 'care_live' has no attribute {name!r}")
