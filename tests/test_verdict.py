"""A verdict in one line, as logs and the terminal show it."""

from __future__ import annotations

from care_live.verdict import BADNESS, Doubt, Trust


def test_reasons_stand_behind_the_colour_the_gravest_first() -> None:
    assert str(Trust("green")) == "green"
    assert str(Trust("red", ("invented at z 3", "saturated"))) == "red: invented at z 3; saturated"


def test_planes_are_counted_from_one_in_words_as_on_sliders() -> None:
    assert Doubt("missing", (0, 5, 7), 6.0).where == "plane 1, y 5 x 7"


def test_red_is_worse_than_amber_and_amber_than_green() -> None:
    assert sorted(BADNESS, key=BADNESS.__getitem__) == ["green", "amber", "red"]
