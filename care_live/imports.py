"""Optional packages: a missing one is named together with the extra that brings it."""

from __future__ import annotations

import importlib
from types import ModuleType

from care_live.errors import ConfigError


def need(module: str, *, extra: str) -> ModuleType:
    """Import a module of an extra.

    Raises
    ------
    ConfigError
        The extra is not installed; says which command installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{module} is not installed: pip install 'care-live[{extra}]'") from error
