"""What a preset sets, as the core in this process spells it and as Java's does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from care_live.source.preset_settings import settings_of

SET = [("Laser", "Power"), ("Camera", "Exposure")]


def python_core(group: str, preset: str) -> Any:
    assert (group, preset) == ("Channel", "GFP")
    each = [SimpleNamespace(get_device_label=lambda d=d: d, get_property_name=lambda p=p: p) for d, p in SET]
    return SimpleNamespace(size=lambda: len(each), get_setting=each.__getitem__)


def java_core(group: str, preset: str) -> Any:
    each = [SimpleNamespace(getDeviceLabel=lambda d=d: d, getPropertyName=lambda p=p: p) for d, p in SET]
    return SimpleNamespace(size=lambda: len(each), getSetting=each.__getitem__)


@pytest.mark.parametrize("found", [python_core, java_core])
def test_device_and_property_of_each_setting_are_read(found: Any) -> None:
    assert settings_of(SimpleNamespace(get_config_data=found), "Channel", "GFP") == SET
