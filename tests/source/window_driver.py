"""Does in the window of a real Micro-Manager what a person clicks there, and returns at once as a click does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from care_live.source.java_bridge import Java, JavaBridge, JavaError, JavaObject

Saved = Literal["RAM", "ND_TIFF", "MULTIPAGE_TIFF", "SINGLEPLANE_TIFF_SERIES"]
_WAIT_S = 120.0


class WindowChannel(NamedTuple):
    """A row of the window's table of channels."""

    preset: str
    skip: int = 0
    """Time points that are left out between two."""
    is_stack: bool = True


class WindowDriver:
    """One client of the server, apart from the one that is tested."""

    def __init__(self, port: int) -> None:
        self._bridge = JavaBridge(port, answer_s=60.0)
        studio = self._bridge.open()
        get = self._bridge.get
        self._acquisitions, self._core = get(studio, "acquisitions"), get(studio, "core")
        self._positions, self._data = get(studio, "positions"), get(studio, "data")
        self._displays = get(studio, "displays")
        self._engine, self._live = get(studio, "getAcquisitionEngine"), get(studio, "live")

    def close(self) -> None:
        self._bridge.close()

    def camera(self, size_px: int, *, exposure_ms: float = 2.0, **properties: str) -> None:
        """Make every image distinct."""
        self.wait_for(lambda: self._bridge.call(self._core, "getCameraDevice") == "Camera")  # it may still be loading
        wanted = {"Mode": "Noise", "PixelType": "16bit", "OnCameraCCDXSize": size_px, "OnCameraCCDYSize": size_px}
        for name, value in {**wanted, **properties}.items():
            self.set("Camera", name, str(value))
        self._bridge.call(self._core, "setExposure", exposure_ms, types=["double"])

    def set(self, device: str, name: str, value: str) -> None:
        text = "java.lang.String"
        self._bridge.call(self._core, "setProperty", device, name, value, types=[text, text, text])

    def mark_positions(self, *names: str) -> None:
        """Fill the list of stage positions, which is empty, and give them to the engine, which reads them late."""
        kind = "org.micromanager.MultiStagePosition"
        self._bridge.call(self._positions, "markCurrentPosition")
        self.wait_for(lambda: self._n_positions() == 1)
        found = self._bridge.get(self._positions, "getPositionList")
        marked = self._bridge.get(found, "getPosition", 0, types=["int"])
        self._bridge.call(marked, "setLabel", names[0], types=["java.lang.String"])
        for name in names[1:]:
            copy = self._bridge.get(marked, "newInstance", marked, types=[kind])
            self._bridge.call(copy, "setLabel", name, types=["java.lang.String"])
            self._bridge.call(found, "addPosition", copy, types=[kind])
        self._bridge.call(self._positions, "setPositionList", found, types=["org.micromanager.PositionList"])
        self.wait_for(lambda: self._n_positions() == len(names))
        self._bridge.call(self._engine, "setPositionList", found, types=["org.micromanager.PositionList"])

    def _n_positions(self) -> object:
        return self._bridge.call(self._bridge.get(self._positions, "getPositionList"), "getNumberOfPositions")

    def acquire(
        self,
        saved: Saved,
        folder: Path | None,
        numbers: tuple[int, int],
        *,
        interval_ms: float = 0.0,
        channels: Sequence[WindowChannel] = (),
        positions: bool = False,
        shown: bool = True,
        **more: int,
    ) -> JavaObject:
        """Begin an acquisition of *numbers* times and planes; return its store."""
        settings = self._bridge.get(self._acquisitions, "getAcquisitionSettings")
        builder = self._bridge.get(settings, "copyBuilder")
        own = self._bridge.get(self._bridge.get(settings, "channels"), "clone")
        self._bridge.call(own, "clear")
        for channel in channels:
            self._bridge.call(own, "add", self._channel(channel), types=["java.lang.Object"])
        n_times, n_planes = numbers
        wanted: dict[str, tuple[str, Java]] = {
            "useFrames": ("boolean", True),
            "numFrames": ("int", n_times),
            "intervalMs": ("double", interval_ms),
            "useSlices": ("boolean", True),
            "sliceZBottomUm": ("double", 0.0),
            "sliceZTopUm": ("double", float(n_planes - 1)),
            "sliceZStepUm": ("double", 1.0),
            "relativeZSlice": ("boolean", False),
            "useAutofocus": ("boolean", False),
            "useChannels": ("boolean", bool(channels)),
            "channelGroup": ("java.lang.String", "Channel"),
            "channels": ("java.util.ArrayList", own),
            "usePositionList": ("boolean", positions),
            "shouldDisplayImages": ("boolean", shown),
            "save": ("boolean", folder is not None),
            "root": ("java.lang.String", str(folder or "")),
            "prefix": ("java.lang.String", "mda"),
            "saveMode": ("org.micromanager.data.Datastore$SaveMode", self._mode(saved)),
            **{name: ("int", value) for name, value in more.items()},
        }
        for name, (kind, value) in wanted.items():
            self._bridge.call(builder, name, value, types=[kind])
        built, kind = self._bridge.get(builder, "build"), "org.micromanager.acquisition.SequenceSettings"
        run = "runAcquisitionWithSettings"
        return self._bridge.get(self._acquisitions, run, built, False, types=[kind, "boolean"])

    def _channel(self, channel: WindowChannel) -> JavaObject:
        builder = self._bridge.get(self._acquisitions, "channelSpecBuilder")
        values: dict[str, tuple[str, Java]] = {
            "channelGroup": ("java.lang.String", "Channel"),
            "config": ("java.lang.String", channel.preset),
            "exposure": ("double", 2.0),
            "skipFactorFrame": ("int", channel.skip),
            "doZStack": ("java.lang.Boolean", channel.is_stack),
            "useChannel": ("boolean", True),
        }
        for name, (kind, value) in values.items():
            self._bridge.call(builder, name, value, types=[kind])
        return self._bridge.get(builder, "build")

    def _mode(self, saved: Saved) -> JavaObject:
        mode = self._bridge.get(self._data, "getPreferredSaveMode")
        name = "MULTIPAGE_TIFF" if saved == "RAM" else saved
        return self._bridge.get(mode, "valueOf", name, types=["java.lang.String"])

    def n_images(self, store: JavaObject) -> int:
        found = self._bridge.call(store, "getNumImages")
        assert isinstance(found, int)
        return found

    def wait_for_images(self, store: JavaObject, n: int) -> None:
        self.wait_for(lambda: self.n_images(store) >= n)

    def wait_closed(self, store: JavaObject) -> None:
        self.wait_for(lambda: self._bridge.call(store, "isFrozen") is True)
        self.wait_for(lambda: self._bridge.call(self._acquisitions, "isAcquisitionRunning") is False)

    def is_idle(self) -> bool:
        """Wait until no acquisition runs."""
        self.wait_for(lambda: self._bridge.call(self._acquisitions, "isAcquisitionRunning") is False)
        return True

    def pause(self, is_paused: bool) -> None:
        self._bridge.call(self._engine, "setPause", is_paused, types=["boolean"])

    def halt(self) -> None:
        """End the acquisition, as its *Stop!* button does once its question was answered."""
        self._bridge.call(self._engine, "stop", True, types=["boolean"])

    def live(self, is_on: bool) -> None:
        self._bridge.call(self._live, "setLiveModeOn", is_on, types=["boolean"])

    def live_number(self) -> int:
        """Return the number of the newest frame of Live."""
        while True:
            try:
                image = self._bridge.get(self._core, "getLastTaggedImage")
            except JavaError:  # none has come yet
                time.sleep(0.05)
                continue
            number = int(json.loads(str(self._bridge.field(image, "tags")))["ImageNumber"])
            self._bridge.release(image)
            return number

    def snap(self) -> None:
        self._bridge.call(self._live, "snap", True, types=["boolean"])

    def save(self, store: JavaObject, folder: Path) -> None:
        """Save what is in memory, for a comparison."""
        types = ["org.micromanager.data.Datastore$SaveMode", "java.lang.String"]
        self._bridge.call(store, "save", self._mode("RAM"), str(folder), types=types)

    def show_saved(self, data_set: Path) -> None:
        """Open a data set from the disk in a window."""
        types = ["java.lang.String", "boolean"]
        opened = self._bridge.get(self._data, "loadData", str(data_set), False, types=types)
        self._bridge.call(self._displays, "manage", opened, types=["org.micromanager.data.DataProvider"])
        self._bridge.call(self._displays, "createDisplay", opened, types=["org.micromanager.data.DataProvider"])

    def discard(self, store: JavaObject) -> None:
        """Close all windows of images, without a question, and forget a store: its images leave Java's memory."""
        self._bridge.call(self._displays, "closeAllDisplayWindows", False, types=["boolean"])
        self._bridge.release(store)

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + _WAIT_S
        while not is_so():
            if time.monotonic() > until:
                pytest.fail(f"Micro-Manager did not get there within {_WAIT_S:g} s")
            time.sleep(0.05)
