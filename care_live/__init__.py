"""care_live restores fluorescence microscopy volumes while they are being acquired.

The API, each loaded when it is first asked for:

- `open_network`: a network, to restore numpy arrays with it
- `restore`: data sets on the disk, one or a whole archive
- `open_run`: a run, finished or still being written
- `subscribe`: the volumes that a daemon publishes
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from care_live.offline import open_network, open_run, restore
    from care_live.publish.subscriber import subscribe

_ROOMS = {
    "open_network": "care_live.offline",
    "open_run": "care_live.offline",
    "subscribe": "care_live.publish.subscriber",
}
__all__ = ["__version__", "open_network", "open_run", "restore", "subscribe"]


class CallableRoom(ModuleType):
    """The room ``care_live.restore``, which is also the function of that name: see `care_live.offline.restore`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return import_module("care_live.offline").restore(*args, **kwargs)


def __getattr__(name: str) -> Any:
    """Load a part of the API when it is first asked for, so that importing care_live stays fast."""
    if name == "restore":
        return import_module("care_live.restore")
    if name in _ROOMS:
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'care_live' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
