"""Micro-Manager's property maps read as its files have them."""

from __future__ import annotations

import json

import pytest

from care_live.errors import SourceError
from care_live.recorded.property_map import plain


def test_types_are_left_out_at_every_depth() -> None:
    inner = {"Label": {"type": "STRING", "scalar": "worm-a"}}
    tree = {
        "ChNames": {"type": "STRING", "array": ["DAPI", "FITC"]},
        "IntendedDimensions": {"type": "PROPERTY_MAP", "scalar": {"z": {"type": "INTEGER", "scalar": 5}}},
        "StagePositions": {"type": "PROPERTY_MAP", "array": [inner]},
        "ROI": {"type": "RECTANGLE", "scalar": {"x": 0, "width": 512}},
    }
    assert plain(json.dumps({"map": tree}), "a summary") == {
        "ChNames": ["DAPI", "FITC"],
        "IntendedDimensions": {"z": 5},
        "StagePositions": [{"Label": "worm-a"}],
        "ROI": {"x": 0, "width": 512},
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"map": 3}'])
def test_anything_else_is_one_clear_error(text: str) -> None:
    with pytest.raises(SourceError, match="a summary"):
        plain(text, "a summary")
