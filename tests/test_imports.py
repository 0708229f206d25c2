"""A package that is missing is named, with the command that installs it."""

from __future__ import annotations

import json

import pytest

from care_live.errors import ConfigError
from care_live.imports import installed, need


def test_what_is_there_is_given() -> None:
    assert need("json", extra="view") is json
    assert installed("numpy", extra="view").split(".")[0].isdecimal()


@pytest.mark.parametrize("ask", [need, installed])
def test_what_is_missing_is_named_with_its_extra(ask: object) -> None:
    with pytest.raises(ConfigError, match=r"no_such_package is not installed: pip install 'care-live\[view\]'"):
        ask("no_such_package", extra="view")  # type: ignore[operator]
