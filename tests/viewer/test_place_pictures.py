"""Pictures of the places where to look twice."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from care_live.maps import MAPS
from care_live.verdict import Doubt
from care_live.viewer.run_report.place_pictures import INVENTED, MISSING, close, whole


def test_a_place_is_ringed_in_the_colour_and_with_the_line_of_its_kind() -> None:
    plane = np.zeros((200, 300), np.uint16)
    inked = {}
    for kind in ("invented", "missing"):
        doubt = Doubt(kind, (0, 150, 40), 9.0)
        for name, drawn in (("whole", whole(plane, None, doubt)), ("close", close(plane, None, doubt))):
            with Image.open(io.BytesIO(base64.b64decode(drawn.partition(",")[2]))) as picture:
                pixels = np.asarray(picture)
            inked[kind, name] = (pixels == (INVENTED if kind == "invented" else MISSING)).all(axis=2)
    rows, columns = np.nonzero(inked["invented", "whole"])
    assert (rows.mean(), columns.mean()) == pytest.approx((150, 40), abs=1)
    for name in ("whole", "close"):
        assert inked["missing", name].sum() < 0.8 * inked["invented", name].sum(), "broken"


def test_evidence_has_two_colours_and_a_coarser_map_covers_its_voxels() -> None:
    evidence = np.zeros((2, 2), np.float32)
    evidence[0, 0], evidence[1, 1] = -99, 99
    drawn = whole(np.repeat(np.repeat(evidence, 2, 0), 2, 1), MAPS["evidence"], None)
    with Image.open(io.BytesIO(base64.b64decode(drawn.partition(",")[2]))) as picture:
        pixels = np.asarray(picture)
    assert tuple(pixels[0, 0]) == INVENTED and tuple(pixels[3, 3]) == MISSING and tuple(pixels[0, 3]) == (0, 0, 0)
