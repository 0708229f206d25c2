"""Optional packages: a missing one is named together with the extra that brings it."""

from __future__ import annotations

import importlib
from importlib import metadata
from types import ModuleType

from care_live.errors import ConfigError


def need(module: str, *, extra: str) -> ModuleType:
    """Import a module of an extra.

    Raises
    ------
    ConfigError
        The extra is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _missing(module, extra) from error


def installed(package: str, *, extra: str) -> str:
    """Return the version of a package of an extra, without importing it.

    Raises
    ------
    ConfigError
        The extra is not installed; the message has the command that installs it.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise _missing(package, extra) from error


def _missing(package: str, extra: str) -> ConfigError:
    return ConfigError(f"{package} is not installed: pip install 'care-live[{extra}]'")
