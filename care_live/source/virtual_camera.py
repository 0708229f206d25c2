"""The virtual microscope's camera: a Micro-Manager device written in Python."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import CameraDevice

from care_live.config import VirtualConfig
from care_live.simulate.microscope import FULL_SCALE
from care_live.simulate.scene import Exposure, Scene

CameraFrame = NDArray[np.uint16]
GetBuffer = Callable[[Sequence[int], Any], NDArray[Any]]

_LATE_S = 2.0
_MISBEHAVIOURS = get_args(VirtualConfig.model_fields["misbehave"].annotation)


class StageState(Protocol):
    """The position of the stages and the channel."""

    def place_um(self, n_in_sequence: int) -> tuple[float, float, float]:
        """Return (z, y, x) for the n-th exposure since the camera was started."""

    def channel(self) -> int:
        """Return the number of the channel in the plan."""


class VirtualCamera(CameraDevice):  # type: ignore[misc]
    """Takes noisy frames of the scene at the place where the stages stand."""

    def __init__(self, config: VirtualConfig, scene: Scene, stages: StageState) -> None:
        super().__init__()
        self._config, self._scene, self._stages = config, scene, stages
        self._exposure_ms = config.acquisition.channels[0].exposure_ms
        self._n_exposures = 0
        self._due = 0.0
        self._released = threading.Event()
        self._stop = threading.Event()
        self._delivered = threading.Event()
        self.last_tags: Mapping[str, str] = {}
        self.register_property("LaserPower", default_value=float(config.laser_power), limits=(0.0, 1e4))
        self.register_property("Misbehave", default_value=config.misbehave, allowed_values=_MISBEHAVIOURS)
        self.register_property("MisbehaveAtExposure", default_value=config.misbehave_at_plane)
        self.register_property("Exposures", property_type=int, getter=_n_exposures, is_read_only=True)

    # -- what Micro-Manager asks ----------------------------------------------------------------------------------

    def get_exposure(self) -> float:
        return self._exposure_ms

    def set_exposure(self, exposure: float) -> None:
        self._exposure_ms = exposure

    def shape(self) -> tuple[int, int]:
        """Return (y, x) of the next frame."""
        ny, nx = self._config.shape_px
        return (ny // 2, nx // 2) if self._is_resized(self._n_exposures) else (ny, nx)

    def dtype(self) -> type[np.uint16]:
        return np.uint16

    def start_sequence(self, n: int | None, get_buffer: GetBuffer) -> Iterator[Mapping[str, str]]:
        """Expose n frames (None: until stopped), one after the other; one frame is a snap.

        Raises
        ------
        RuntimeError
            The driver fails, or the camera was switched off during a call.
        """
        self._stop.clear()
        self._due = time.perf_counter()
        taken = 0
        while not self._stop.is_set() and (n is None or taken < n):
            number = self._n_exposures
            self._n_exposures += 1
            exposure = self._exposure(number, taken)
            frame = self._expose(exposure)
            taken += 1
            tags = _tags(exposure, self._scene)
            for _ in range(self._copies(number)):
                get_buffer(frame.shape, np.uint16)[:] = frame
                self.last_tags = tags
                yield tags
                self._delivered.set()  # the core wants the next one, so it has this one

    # -- the exposure ---------------------------------------------------------------------------------------------

    def wait_delivered(self, is_empty: Callable[[], bool], timeout_s: float) -> None:
        """Wait until the core's buffer has got a frame; the last one of a sequence does not show here."""
        self._delivered.clear()
        if is_empty():
            self._delivered.wait(timeout_s)

    def release(self) -> None:
        """End the camera's waits; the present frame is not delivered."""
        self._stop.set()
        self._released.set()

    def stop(self) -> None:
        """Let the running sequence end with the present frame."""
        self._stop.set()

    def _exposure(self, number: int, n_in_sequence: int) -> Exposure:
        z_um, y_um, x_um = self._stages.place_um(n_in_sequence)
        power = float(self.get_property_value("LaserPower"))
        return Exposure(number, x_um, y_um, z_um, self._exposure_ms, power, self._stages.channel())

    def _expose(self, exposure: Exposure) -> CameraFrame:
        """Render while the light is on, then wait for the end of the exposure."""
        number = exposure.number
        if self._goes_wrong("raise", number):
            raise RuntimeError(f"virtual camera: driver fault at exposure {number}, as configured")
        frame = self._scene.expose(exposure)
        if self._goes_wrong("saturate", number):
            frame = np.full_like(frame, FULL_SCALE)
        if self._is_resized(number):
            frame = frame[::2, ::2][: frame.shape[0] // 2, : frame.shape[1] // 2]
        self._wait_until_due()
        if self._goes_wrong("late", number):
            self._released.wait(_LATE_S)
        if self._goes_wrong("stall", number):
            self._released.wait()
        if self._released.is_set():
            raise RuntimeError("virtual camera: switched off during an exposure")
        return frame

    def _wait_until_due(self) -> None:
        rate_hz = self._config.plane_rate_hz
        period_s = max(self._exposure_ms / 1000, 1 / rate_hz if rate_hz else 0.0)
        self._due = max(self._due + period_s, time.perf_counter())
        self._released.wait(max(0.0, self._due - time.perf_counter()))

    def _goes_wrong(self, how: str, number: int) -> bool:
        return self._misbehaves(how) and number == self.get_property_value("MisbehaveAtExposure")

    def _is_resized(self, number: int) -> bool:
        return self._misbehaves("resize") and number >= self.get_property_value("MisbehaveAtExposure")

    def _misbehaves(self, how: str) -> bool:
        return bool(self.get_property_value("Misbehave") == how)

    def _copies(self, number: int) -> int:
        """Return how often a frame is delivered."""
        return 0 if self._goes_wrong("drop", number) else 2 if self._goes_wrong("duplicate", number) else 1


def _n_exposures(camera: VirtualCamera) -> int:
    return camera._n_exposures


def _tags(exposure: Exposure, scene: Scene) -> dict[str, str]:
    """Return the camera's tags of a frame, as text, like every tag of the core."""
    return {
        "CameraFrameCount": str(exposure.number),
        "Virtual-Z-um": f"{exposure.z_um:.4f}",
        "Virtual-Time-s": f"{scene.time_s(exposure.number):.4f}",
        "Virtual-LaserPower": f"{exposure.laser_power:g}",
    }
