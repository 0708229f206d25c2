"""What runs the network of a result, noted with it: the setting may leave it open, and what goes on takes it again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

import msgspec

from care_live import __version__
from care_live.errors import ConfigError
from care_live.restore.engine import Engine

VERSIONS = "versions"
"""Where those that computed are written."""
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino")
_KEY = "computed_with"
"""Where it is written, beside the provenance."""


@dataclass(frozen=True, slots=True)
class ComputedWith:
    """What runs a network, once it is chosen: another provider, or precision, gives other last bits."""

    provider: str
    precision: str
    versions: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Of care_live and the runtimes where it was chosen; empty: not known."""

    @classmethod
    def of(cls, *engines: Engine) -> ComputedWith:
        """Return what engines compute with; of several, by their numbers."""
        providers, precisions = (one.provider for one in engines), (one.precision for one in engines)
        return cls(",".join(providers), ",".join(precisions), versions())

    @classmethod
    def found_in(cls, record: Mapping[str, Any] | None) -> ComputedWith | None:
        """Return what a record of results says; None where an older version wrote it."""
        found = (record or {}).get(_KEY)
        return None if found is None else msgspec.convert(found, cls)

    def noted(self) -> dict[str, Any]:
        """Return it as entries of a record."""
        chosen = {"provider": self.provider, "precision": self.precision}
        return {_KEY: chosen} | ({VERSIONS: dict(self.versions)} if self.versions else {})

    def __str__(self) -> str:
        return f"provider {self.provider} in {self.precision}"


def not_there(before: ComputedWith, why: str) -> ConfigError:
    """Return the error for a result that can't go on with what computed its first part."""
    return ConfigError(
        f"the result was begun with {before}, and another one gives other last bits; {why}. Go on on the machine where "
        "it was begun, choose another name, or remove it first"
    )


def versions() -> dict[str, str]:
    """Return what computed: may differ between two sessions, and is noted."""
    packages = {name: _version(name) for name in ("numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "zarr")}
    return {"care_live": __version__, "python": platform.python_version()} | {k: v for k, v in packages.items() if v}


def other_versions(record: Mapping[str, Any], now: Mapping[str, str] | None = None) -> list[str]:
    """Return a line for each runtime that is not the one with which a result was begun: last bits may differ.

    Parameters
    ----------
    now : versions of what goes on; None: of this process
    """
    before, now = record.get(VERSIONS) or {}, now or versions()
    return [
        f"begun {_with(name, before)}, goes on {_with(name, now)}: the last bits of volumes may differ"
        for name in _RUNTIMES
        if before and before.get(name) != now.get(name)
    ]


def _with(package: str, packages: Mapping[str, str]) -> str:
    return f"with {package} {packages[package]}" if package in packages else f"without {package}"


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
