"""What made a result: network, settings, versions and input; and whether more may be added to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from care_live.checksum import crc32c
from care_live.config import RestoreConfig
from care_live.errors import ConfigError
from care_live.images import LIMITS, ModelIdentity
from care_live.model import file
from care_live.offline.computed_with import VERSIONS, versions
from care_live.offline.settings import what_shapes_the_result

KEY = "restored_with"
"""Where it is written: in a run's summary of its source, and so in its journal; in the description of a TIFF."""
_ENDS_BYTES = 1 << 20


def of(network: Mapping[str, Any], config: RestoreConfig, *, axes: str | None, keep_raw: bool) -> dict[str, Any]:
    """Return what must be the same for all volumes of one result, JSON-able.

    Parameters
    ----------
    network : as `of_network` has it; of several, those of each by its channels
    """
    return {
        "network": dict(network),
        "settings": what_shapes_the_result(config) | {"axes": axes, "keep_raw": keep_raw},
    }


def of_network(identity: ModelIdentity, model: Path) -> dict[str, str]:
    """Return what results say of a network; of a foreign one, the checksum of the card beside it, too."""
    card = file.checksum_beside(model)
    return {"name": identity.name, "sha256": identity.sha256} | ({} if card is None else {"card_sha256": card})


def described(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that a file of results should contain about how it was made."""
    return {**provenance, VERSIONS: versions(), "limits": LIMITS}


def refuse_other(found: Mapping[str, Any] | None, wanted: Mapping[str, Any], target: Path | str) -> None:
    """Raise a ConfigError that names the difference, where a result lies that was made in another way."""
    if found is None:
        raise ConfigError(f"{target} exists already, and care-live restore did not make it: choose another name")
    for name, before, now in _differences(found, wanted):
        raise ConfigError(
            f"{target} was begun with {name} {before}, now {now} is asked for: results are not mixed. Ask for "
            "the same, choose another name, or remove it first"
        )


def fingerprint(source: Path | str) -> int | None:
    """Return a checksum of a file's size and both its ends; None for a folder, which has its own metadata."""
    if isinstance(source, str) or not source.is_file():
        return None
    n_bytes = source.stat().st_size
    with source.open("rb") as opened:
        head = opened.read(_ENDS_BYTES)
        opened.seek(max(0, n_bytes - _ENDS_BYTES))
        return crc32c(head + opened.read() + str(n_bytes).encode())


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    before, now = found.get("network"), wanted["network"]
    differ = [] if before == _as_noted(now, before) else [("network", _networks(before), _networks(now))]
    before, now = found.get("settings"), wanted["settings"]
    before = before if isinstance(before, dict) else {}
    changed = [key for key in now if before.get(key) != now[key]]
    return differ + [(f"settings.{key}", _short(before.get(key)), _short(now[key])) for key in changed]


def _as_noted(now: Mapping[str, Any], before: object) -> dict[str, Any]:
    """Return networks as an older version noted them: without the checksum of a card that lies beside one."""
    noted = before if isinstance(before, dict) else {}
    if "sha256" in now:
        return {key: value for key, value in now.items() if key != "card_sha256" or key in noted}
    return {channel: _as_noted(one, noted.get(channel)) for channel, one in now.items()}


def _networks(found: object) -> str:
    """Return the name of a network, or of that of each channel, as a person reads it."""
    if not isinstance(found, dict):
        return _short(found)
    if "sha256" in found:
        card = f", card {str(found['card_sha256'])[:8]}" if "card_sha256" in found else ""
        return f"{found.get('name')} (sha256 {str(found['sha256'])[:8]}{card})"
    return ", ".join(f"{_networks(found[channel])} for {channel}" for channel in sorted(found))


def _short(value: object) -> str:
    return msgspec.json.encode(value).decode()[:60]
