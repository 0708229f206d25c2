"""Micro-Manager's property maps: JSON in which each value is named with its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from care_live.errors import SourceError
from care_live.recorded.ndtiff_index import json_object


def plain(text: str, where: str) -> dict[str, Any]:
    """Return a property map as its files have it: without the types.

    Raises
    ------
    SourceError
        It is no property map.
    """
    tree = json_object(text.encode(), where)
    if not isinstance(tree.get("map"), dict):
        raise SourceError(f"{where} is no property map: it has {sorted(tree)[:10]}")
    return _values(tree["map"])


def _values(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(one) for name, one in tree.items() if isinstance(one, dict)}


def _value(typed: Mapping[str, Any]) -> Any:
    is_map = typed.get("type") == "PROPERTY_MAP"
    if "array" in typed:
        array = typed["array"] if isinstance(typed["array"], list) else []
        return [_values(one) if is_map and isinstance(one, dict) else one for one in array]
    scalar = typed.get("scalar")
    return _values(scalar) if is_map and isinstance(scalar, dict) else scalar
