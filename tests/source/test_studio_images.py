"""The images of an acquisition in the memory of a real Micro-Manager, which are the same as where it is saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.images import PlaneIndex, RunEnded, VolumeKey
from care_live.source.java_bridge import JavaBridge, JavaError
from care_live.source.studio_acquisitions import NamesAcquisitions, StudioAcquisitions
from care_live.source.studio_images import StudioImage, StudioImages, number
from tests.source.window_driver import WindowChannel, WindowDriver
from tests.source.window_runs import Came, checksum, checksums


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_acquisition_in_memory_comes_whole(driver: WindowDriver, run: Came, tmp_path: Path) -> None:
    """Two positions, two channels; one channel skips every second time point and has only its middle plane."""
    driver.mark_positions("worm-a", "worm-b")
    channels = [WindowChannel("DAPI"), WindowChannel("FITC", skip=1, is_stack=False)]
    store = driver.acquire("RAM", None, (2, 3), channels=channels, positions=True)
    run.until()
    driver.wait_closed(store)
    n = driver.n_images(store)
    assert run.ended == RunEnded("finished", n_delivered=n), run.planes.keys()
    assert run.started is not None
    assert run.started.plan.n_planes == n
    assert (run.started.plan.positions, run.started.plan.channels) == (("worm-a", "worm-b"), ("DAPI", "FITC"))
    assert run.started.plan.stacks[VolumeKey(0, 1, 0)] == (0, 1, 2)
    assert run.started.plan.stacks[VolumeKey(0, 1, 1)] == (1,)
    assert VolumeKey(1, 0, 1) not in run.started.plan.stacks
    driver.save(store, tmp_path / "saved")
    assert run.planes == checksums(tmp_path / "saved")
    assert len(set(run.planes.values())) == n, "the camera repeats itself"


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_image_is_given_once_in_the_announced_order_and_read_with_its_metadata(
    bridge: JavaBridge, at: NamesAcquisitions, driver: WindowDriver, tmp_path: Path
) -> None:
    acquisitions = StudioAcquisitions(bridge)
    acquisitions.new(at)
    store = driver.acquire("RAM", None, (2, 12))
    driver.wait_closed(store)
    (found,) = acquisitions.new(at)
    images = StudioImages(bridge, bridge.get(bridge.open(), "data"), found.store, title="in memory")
    looks = []
    while not images.is_finished:
        looks.append(images.look())
    assert [len(one) for one in looks] == [16, 8], "the end of the acquisition is noticed in between"
    given = [image for look in looks for image in look]
    assert [(one.axes["time"], one.axes["z"], one.index_at) for one in given] == [
        (n // 12, n % 12, n) for n in range(24)
    ]
    read = [images.read(one) for one in given]
    assert all(tags["Exposure-ms"] == 2.0 and "ReceivedTime" in tags for _, tags in read)
    assert len({tags["ReceivedTime"] for _, tags in read}) == 24
    driver.save(store, tmp_path / "saved")
    places = [PlaneIndex(one.axes["time"], 0, 0, one.axes["z"]) for one in given]
    assert dict(zip(places, (checksum(pixels) for pixels, _ in read), strict=True)) == checksums(tmp_path / "saved")
    with pytest.raises(JavaError, match="has no image time=9,position=0,channel=0,z=0 any more"):
        images.read(StudioImage({"time": 9, "position": 0, "channel": 0, "z": 0}, 24))


def test_what_is_no_number_is_said() -> None:
    assert number(3.0) == 3
    with pytest.raises(JavaError, match="gave 'three'; wanted a number"):
        number("three")
