"""What a core sees now: a frame is given once, none is taken away, and a snap never fails because it is watched."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

if find_spec("pymmcore") is None:
    pytest.skip("needs the [mm] extra", allow_module_level=True)

from care_live.errors import SourceError
from care_live.live_frame import LiveFrame
from care_live.source.live_camera import LaserProperty, LiveCamera

LASER = LaserProperty("Laser", "Power")


class Core:
    """A core with the methods of pymmcore whose camera is a list of images, and that has no events."""

    def __init__(self) -> None:
        self.is_running, self.exposure_ms, self.power = True, 20.0, "3.0"
        self.image: Any = np.full((4, 6), 1, np.uint16)
        self.number, self.has_image, self.n_snaps = 0, True, 0
        self.focus, self.group = "Z", "Channel"

    def isSequenceRunning(self) -> bool:  # noqa: N802 - the core's names
        return self.is_running

    def getLastImageMD(self, metadata: Any) -> Any:  # noqa: N802
        if not self.has_image:
            raise IndexError("the circular buffer is empty")
        metadata.Restore(f"1\ns\nImageNumber\n_\n1\n{self.number}\n")
        return self.image

    def snapImage(self) -> None:  # noqa: N802
        self.n_snaps += 1

    def getImage(self) -> Any:  # noqa: N802
        return self.image

    def getExposure(self) -> float:  # noqa: N802
        return self.exposure_ms

    def getProperty(self, device: str, name: str) -> str:  # noqa: N802
        assert (device, name) == LASER
        return self.power

    def getChannelGroup(self) -> str:  # noqa: N802
        return self.group

    def getCurrentConfigFromCache(self, group: str) -> str:  # noqa: N802
        if group != "Channel":
            raise RuntimeError("no such group")
        return "DAPI"

    def getFocusDevice(self) -> str:  # noqa: N802
        return self.focus

    def getPosition(self) -> float:  # noqa: N802
        return 7.5

    def getPixelSizeUm(self) -> float:  # noqa: N802
        return 0.0


@pytest.fixture
def core() -> Core:
    return Core()


def watching(core: Core, *, laser: LaserProperty | None = LASER) -> tuple[LiveCamera, list[int]]:
    snaps: list[int] = []
    return LiveCamera(core, laser=laser, on_snap=lambda: snaps.append(core.n_snaps)), snaps


def seen(camera: LiveCamera) -> LiveFrame:
    frame = camera.newest()
    assert frame is not None
    return frame


def test_a_frame_is_given_once_with_the_conditions_it_was_taken_under(core: Core) -> None:
    camera, _ = watching(core)
    frame = seen(camera)
    assert camera.newest() is None, "the same image is still in the buffer"
    now = frame.conditions
    assert (now.exposure_ms, now.laser, now.channel, now.z_um, now.snapped) == (20.0, 3.0, "DAPI", 7.5, False)
    assert now.pixel_um == 1.0, "a core that is not calibrated says 0"
    assert not frame.pixels.flags.writeable


def test_frames_that_were_passed_over_count_in_number_and_dose(core: Core) -> None:
    camera, _ = watching(core)
    first = seen(camera)
    core.number = 9
    later = seen(camera)
    assert later.number - first.number == 9
    assert later.conditions.light_s - first.conditions.light_s == pytest.approx(9 * 0.02 * 3.0)
    core.number = 2  # Live began anew
    assert seen(camera).number - later.number == 3


def test_without_a_known_laser_the_dose_is_the_time_alone(core: Core) -> None:
    camera, _ = watching(core, laser=None)
    assert seen(camera).conditions.laser is None
    core.number, core.power = 1, "no number"
    other, _ = watching(core)
    frame = seen(other)
    assert frame.conditions.laser is None and frame.conditions.light_s == pytest.approx(0.02)


def test_what_the_core_does_not_know_is_left_out(core: Core) -> None:
    core.focus, core.group = "", "gone"
    camera, _ = watching(core)
    assert (seen(camera).conditions.z_um, camera.is_live) == (None, True)
    core.group, core.number = "gone", 1
    assert seen(camera).conditions.channel == ""


def test_an_empty_buffer_and_a_camera_that_stands_still_give_nothing(core: Core) -> None:
    camera, _ = watching(core)
    core.has_image = False
    assert camera.newest() is None
    core.has_image, core.is_running = True, False
    assert camera.newest() is None and not camera.is_live


@pytest.mark.parametrize("image", [np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.float32)])
def test_an_image_that_is_no_counts_is_refused(core: Core, image: Any) -> None:
    core.image = image
    camera, _ = watching(core)
    with pytest.raises(SourceError, match="wanted grey, 8 or 16 bit"):
        camera.newest()


def test_a_snap_is_given_only_where_a_frame_was_wanted(core: Core) -> None:
    camera, snaps = watching(core)
    core.is_running = False
    core.snapImage()
    assert core.n_snaps == 1 and camera.newest() is None
    camera.is_wanted = True
    core.snapImage()
    frame = seen(camera)
    assert frame.conditions.snapped and frame.conditions.frames_per_s is None
    assert snaps == [2] and camera.newest() is None


def test_a_snap_that_cannot_be_shown_does_not_fail_the_one_who_snaps(
    core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    camera, snaps = watching(core)
    camera.is_wanted, core.image, core.is_running = True, "no image", False
    core.snapImage()
    assert core.n_snaps == 1 and not snaps and camera.newest() is None
    assert "snap is not shown" in caplog.text


def test_what_was_put_into_the_core_is_taken_back(core: Core) -> None:
    camera, snaps = watching(core)
    camera.is_wanted = True
    camera.close()
    core.snapImage()
    assert core.n_snaps == 1 and not snaps


@pytest.mark.parametrize(("exposure_ms", "poll_s"), [(0.1, 0.001), (50.0, 0.01), (5000.0, 0.05)])
def test_it_is_looked_at_some_times_a_frame(core: Core, exposure_ms: float, poll_s: float) -> None:
    camera, _ = watching(core)
    core.exposure_ms = exposure_ms
    assert camera.poll_s == pytest.approx(poll_s)


def test_the_spelling_of_pycromanager_serves_as_well(core: Core) -> None:
    class Snakes:
        """The same core, as pycromanager's Python backend names its methods."""

        def __getattr__(self, name: str) -> Any:
            if name == "events" or not name.islower():
                raise AttributeError(name)
            camel = {
                "get_last_image_md": "getLastImageMD",
                "snap_image": "snapImage",
            }
            words = name.split("_")
            return getattr(core, camel.get(name, words[0] + "".join(map(str.capitalize, words[1:]))))

    snakes: Any = Snakes()
    camera = LiveCamera(snakes, laser=LASER, on_snap=lambda: None)
    assert seen(camera).conditions.laser == 3.0
    camera.is_wanted = True
    snakes.snap_image()
    assert seen(camera).conditions.snapped
