"""What runs the network of a result, noted with it: the setting may leave it open, and what goes on takes it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from care_live.errors import ConfigError
from care_live.restore.engine import Engine

_KEY = "computed_with"
"""Where it is written, beside the provenance."""


@dataclass(frozen=True, slots=True)
class ComputedWith:
    """What runs a network, once it is chosen: another provider, or precision, gives other last bits."""

    provider: str
    precision: str

    @classmethod
    def of(cls, *engines: Engine) -> ComputedWith:
        """Return what engines compute with; of several, by their numbers."""
        return cls(",".join(one.provider for one in engines), ",".join(one.precision for one in engines))

    @classmethod
    def found_in(cls, record: Mapping[str, Any] | None) -> ComputedWith | None:
        """Return what a record of results says; None where an older version wrote it."""
        found = (record or {}).get(_KEY)
        return None if found is None else msgspec.convert(found, cls)

    def noted(self) -> dict[str, Any]:
        """Return it as an entry of a record."""
        return {_KEY: asdict(self)}

    def __str__(self) -> str:
        return f"provider {self.provider} in {self.precision}"


def not_there(before: ComputedWith, why: str) -> ConfigError:
    """Return the error for a result that can't go on with what computed its first part."""
    return ConfigError(
        f"the result was begun with {before}, and another one gives other last bits; {why}. Go on on the machine where "
        "it was begun, choose another name, or remove it first"
    )
