"""Which GPU this process sees: CUDA shows it the chosen one alone, as number 0, so that the rest is as with one GPU."""

from __future__ import annotations

import os
from functools import cache

from care_live.errors import ConfigError

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"


def choose(device: int) -> None:
    """Show CUDA one GPU; must come before the first network is opened. 0 leaves everything as it is.

    Parameters
    ----------
    device : number of the GPU as nvidia-smi has it, or its place in ``CUDA_VISIBLE_DEVICES`` where that is set

    Raises
    ------
    ConfigError
        ``CUDA_VISIBLE_DEVICES`` has no such place.
    """
    if device:
        os.environ[VISIBLE] = one_of(_given(), device)
        os.environ.setdefault(ORDER, "PCI_BUS_ID")  # as nvidia-smi counts


def one_of(visible: str | None, device: int) -> str:
    """Return the GPU at a place of ``CUDA_VISIBLE_DEVICES``, or the number itself where that is not set."""
    if visible is None:
        return str(device)
    listed = [name.strip() for name in visible.split(",") if name.strip()]
    if device >= len(listed):
        raise ConfigError(
            f"restore.device is {device}, but {VISIBLE} lists {len(listed)} GPU(s), from 0: {visible!r}; "
            "name another device, or change the variable"
        )
    return listed[device]


@cache
def _given() -> str | None:
    """Return what the variable was before this process chose; a network may be opened several times."""
    return os.environ.get(VISIBLE)
