"""Arrays that take seconds to compute, kept in the user's cache folder: a second start does not wait."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def kept(what: str, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Return an array from the cache, or compute it and keep it.

    Parameters
    ----------
    what : all that the array depends on, in words; the same words mean the same array
    compute : called where the cache has none that can be read; a cache that cannot be written is done without
    """
    path = folder() / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.npy"
    with suppress(OSError, ValueError, EOFError):
        return np.asarray(np.load(path, allow_pickle=False))
    array = compute()
    with suppress(OSError):
        _save(path, array)
    return array


def folder() -> Path:
    """Return ``$CARE_LIVE_CACHE`` or ``~/.cache/care_live``, and in it what is simulated."""
    return Path(os.environ.get("CARE_LIVE_CACHE") or Path.home() / ".cache" / "care_live") / "simulate"


def _save(path: Path, array: NDArray[Any]) -> None:
    """Write beside, then rename: another process never reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(number, "wb") as file:
            np.save(file, array, allow_pickle=False)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
