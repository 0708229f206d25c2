"""The colour of the trust light."""

from __future__ import annotations

from care_live.trust.light import also_strange
from care_live.verdict import Trust


def test_what_is_strange_makes_green_amber_and_leaves_red() -> None:
    assert also_strange(Trust("green"), ()) == Trust("green")
    assert also_strange(Trust("green"), ("other",)) == Trust("amber", ("other",), is_out_of_domain=True)
    assert also_strange(Trust("red", ("wrong",)), ("other",)).reasons == ("wrong", "other")
    assert also_strange(Trust("red", ("wrong",)), ("other",)).colour == "red"
