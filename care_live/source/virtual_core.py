"""A Micro-Manager core with the virtual camera, with the method names of both engines."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import mm_test_adapters
from mmpycorex import launcher
from pycromanager.acquisition.acq_eng_py.internal.engine import Engine
from pymmcore_plus.experimental.unicore import UniMMCore

from care_live.config import VirtualConfig
from care_live.errors import SourceError
from care_live.simulate.scene import Scene
from care_live.source.virtual_camera import VirtualCamera

_CAMERA = "Virtual Camera"
_PATIENCE_S = 0.01


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


_SPELLINGS = {_snake(name): name for name in dir(UniMMCore) if not name.startswith("_") and name != name.lower()}
"""pycromanager's spelling → Micro-Manager's, for every public method."""


class VirtualCore(UniMMCore):  # type: ignore[misc]
    """The core: demo stages and wheels, and a camera that sees where they stand.

    Every method is there in Micro-Manager's spelling (``snapImage``) and in pycromanager's (``snap_image``).
    """

    TaggedImage = launcher.TaggedImage

    def __init__(self, config: VirtualConfig, scene: Scene) -> None:
        super().__init__()
        self._config, self._scene = config, scene
        self._starting = threading.RLock()
        self._z_sequence: tuple[float, ...] = ()
        self._z_triggered = False
        self._camera: VirtualCamera | None = None

    def __getattr__(self, name: str) -> Any:
        camel = _SPELLINGS.get(name)
        if camel is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self, camel)

    def open(self, buffer_mib: int) -> None:
        """Load the demo devices and the camera."""
        adapters = Path(mm_test_adapters.device_adapter_path())
        self.setDeviceAdapterSearchPaths([str(adapters)])
        self.loadSystemConfiguration(str(adapters / "MMConfig_demo.cfg"))
        self._camera = VirtualCamera(self._config, self._scene, self)
        self.loadPyDevice(_CAMERA, self._camera)
        self.initializeDevice(_CAMERA)
        self.setCameraDevice(_CAMERA)
        for objective in self.getAvailablePixelSizeConfigs():
            self.setPixelSizeUm(objective, self._config.acquisition.pixel_size_um)
        self.setCircularBufferMemoryFootprint(buffer_mib)
        self.setProperty("Z", "UseSequences", "Yes" if self._config.acquisition.hardware_sequence else "No")

    def unloadAllDevices(self) -> None:  # noqa: N802
        """Release the threads that wait for the camera, then unload all devices."""
        if self._camera is not None:
            self._camera.release()
        super().unloadAllDevices()

    # -- where the camera looks -----------------------------------------------------------------------------------

    def place_um(self, n_in_sequence: int) -> tuple[float, float, float]:
        """Return (z, y, x) of the stages; a triggered z stage steps with every exposure."""
        x_um, y_um = self.getXYPosition()
        if self._z_triggered and self._z_sequence:
            return self._z_sequence[n_in_sequence % len(self._z_sequence)], y_um, x_um
        return self.getPosition(), y_um, x_um

    def channel(self) -> int:
        """Return the number of the channel in the plan whose preset is set; 0 when none is."""
        presets = [channel.preset for channel in self._config.acquisition.channels]
        if len(presets) == 1:
            return 0
        preset = self.getCurrentConfigFromCache(self._config.acquisition.channel_group)
        return presets.index(preset) if preset in presets else 0

    def loadStageSequence(self, stageLabel: str, positionSequence: Sequence[float]) -> None:  # noqa: N802
        """Load a sequence into a stage; the camera will follow the focus stage's."""
        super().loadStageSequence(stageLabel, positionSequence)
        if stageLabel == self.getFocusDevice():
            self._z_sequence = tuple(positionSequence)

    def startStageSequence(self, stageLabel: str) -> None:  # noqa: N802
        super().startStageSequence(stageLabel)
        self._z_triggered = self._z_triggered or stageLabel == self.getFocusDevice()

    def stopStageSequence(self, stageLabel: str) -> None:  # noqa: N802
        super().stopStageSequence(stageLabel)
        self._z_triggered = self._z_triggered and stageLabel != self.getFocusDevice()

    def startSequenceAcquisition(self, *how: Any) -> None:  # noqa: N802
        """Start the camera; a thread that asks meanwhile whether it runs must not clean up what is being started."""
        with self._starting:
            super().startSequenceAcquisition(*how)

    def startContinuousSequenceAcquisition(self, *how: Any) -> None:  # noqa: N802
        """Start the camera without an end."""
        with self._starting:
            super().startContinuousSequenceAcquisition(*how)

    def isSequenceRunning(self, *cameraLabel: str) -> bool:  # noqa: N802
        with self._starting:
            return bool(super().isSequenceRunning(*cameraLabel))

    def stopSequenceAcquisition(self, *cameraLabel: str) -> None:  # noqa: N802
        """Stop the camera; the present frame is still taken."""
        if self._camera is not None:
            self._camera.stop()
        super().stopSequenceAcquisition(*cameraLabel)

    # -- where pycromanager's dialect differs -----------------------------------------------------------------------

    def get_config_data(self, group: str, preset: str) -> Any:
        """Return a preset as the core's own object, which pycromanager's engine needs."""
        return self.getConfigData(group, preset, native=True)

    def pop_next_tagged_image(self) -> Any:
        """Return the next frame of a sequence.

        Raises
        ------
        IndexError
            None is there; raised only after some waiting, because the engine asks again at once and would
            otherwise keep the interpreter from the camera.
        """
        if self._camera is not None:
            self._camera.wait_delivered(lambda: self.getRemainingImageCount() == 0, _PATIENCE_S)
        pixels, tags = self.popNextImageAndMD()
        return launcher.TaggedImage(dict(tags), pixels)

    def get_tagged_image(self, camera_index: int, camera: str, height: int, width: int, *_: Any) -> Any:
        """Return the snapped frame, with the tags that the camera gave it."""
        tagged = launcher.get_tagged_image(self, camera_index, camera, height, width)
        received = {"TimeReceivedByCore": datetime.now().isoformat(sep=" ")}
        tagged.tags.update(received | dict(self._camera.last_tags if self._camera else {}))
        return tagged


def start(config: VirtualConfig, scene: Scene, *, buffer_mib: int) -> VirtualCore:
    """Start the core and hand it to pycromanager's engine.

    Raises
    ------
    SourceError
        This process has a core already, or the demo devices do not load.
    """
    if launcher.is_pymmcore_active() or Engine.get_instance() is not None:
        raise SourceError("this process has a Micro-Manager core already; pycromanager's engine can drive only one")
    core = VirtualCore(config, scene)
    try:
        core.open(buffer_mib)
    except RuntimeError as error:
        raise SourceError(f"Micro-Manager's demo devices do not load: {error}; reinstall care-live[mm]") from error
    launcher._PYMMCORES.append(core)
    Engine(core)
    return core
