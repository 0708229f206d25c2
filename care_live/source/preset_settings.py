"""What a preset of Micro-Manager sets, by a core in this process or over the bridge to Java."""

from __future__ import annotations

from typing import Any


def settings_of(core: Any, group: str, preset: str) -> list[tuple[str, str]]:
    """Return the device and property of all that a preset sets."""
    found = core.get_config_data(group, preset)
    settings = [_spelt(found, "get_setting", "getSetting")(number) for number in range(found.size())]
    return [(_label(one), str(_spelt(one, "get_property_name", "getPropertyName")())) for one in settings]


def _label(setting: Any) -> str:
    return str(_spelt(setting, "get_device_label", "getDeviceLabel")())


def _spelt(thing: Any, *names: str) -> Any:
    """Return the first attribute that there is: Java's objects and the core's own are spelt differently."""
    return next(getattr(thing, name) for name in names if hasattr(thing, name))
