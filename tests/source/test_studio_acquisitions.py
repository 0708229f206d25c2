"""What is said of acquisitions that are not restored stays small, also where thousands are left out."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import sentinel

from care_live.source.studio_acquisitions import WindowAcquisition


def test_of_very_many_missed_acquisitions_the_last_ones_are_named() -> None:
    one = WindowAcquisition("store", "now", sentinel.store, Path("mda_1"), "mda_1")
    for number in range(1000):
        one.add_missed((f"mda_{number}",))
    assert len(one.missed) == 256
    assert one.missed[-1] == "mda_999"
