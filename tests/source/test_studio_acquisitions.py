"""Each acquisition of a window is found once; what is said of those that are not restored stays small."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import sentinel

import pytest

from care_live.source.java_bridge import JavaBridge
from care_live.source.studio_acquisitions import NamesAcquisitions, StudioAcquisitions, WindowAcquisition
from care_live.source.studio_images import count
from tests.source.window_driver import WindowDriver


def test_of_very_many_missed_acquisitions_the_last_ones_are_named() -> None:
    one = WindowAcquisition("store", "now", sentinel.store, Path("mda_1"), "mda_1")
    for number in range(1000):
        one.add_missed((f"mda_{number}",))
    assert len(one.missed) == 256
    assert one.missed[-1] == "mda_999"


def acquire(driver: WindowDriver, n_planes: int, folder: Path | None = None, *, shown: bool = True) -> None:
    driver.wait_closed(driver.acquire("ND_TIFF" if folder else "RAM", folder, (1, n_planes), shown=shown))


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_acquisitions_between_two_looks_are_found_and_opened_data_are_not(
    bridge: JavaBridge, driver: WindowDriver, at: NamesAcquisitions, tmp_path: Path
) -> None:
    acquire(driver, 6, tmp_path)
    acquisitions = StudioAcquisitions(bridge)
    acquisitions.new(at)
    for n_planes in (3, 4):
        acquire(driver, n_planes)
    driver.show_saved(tmp_path / "mda_1")
    found = acquisitions.new(at)
    assert [count(bridge, one.store) for one in found] == [3, 4]
    assert acquisitions.new(at) == []
    store = acquisitions.find(at, found[1])
    assert store is not None
    assert count(bridge, store) == 4


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_acquisition_without_a_window_that_was_missed_is_named(
    bridge: JavaBridge, driver: WindowDriver, at: NamesAcquisitions, tmp_path: Path
) -> None:
    acquisitions = StudioAcquisitions(bridge)
    acquisitions.new(at)
    acquire(driver, 3, tmp_path, shown=False)
    assert [(one.title, one.missed) for one in acquisitions.new(at)] == [("mda_1", ())]
    acquire(driver, 4, tmp_path, shown=False)
    acquire(driver, 5, tmp_path, shown=False)
    assert [(one.title, one.missed) for one in acquisitions.new(at)] == [("mda_3", ("mda_2",))]
