"""pycromanager drives Micro-Manager: events from the config, hooks, and errors.

The only file that runs pycromanager. It lives in the engine's process (see engine_run.py), never in the daemon's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from itertools import groupby, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from care_live.config import AcquisitionConfig, Channel, MicroManagerConfig, Position, VirtualConfig
from care_live.errors import ConfigError, SourceError
from care_live.images import Plan
from care_live.imports import need
from care_live.recorded.recording import counts_dtype
from care_live.source.camera_guard import CameraGuard, one_line
from care_live.source.cameras import camera_labels, formats_of, refuse_different
from care_live.source.mda_sequence import interval_s, pycromanager_events, read_sequence
from care_live.source.outline import Outline
from care_live.source.preset_settings import settings_of
from care_live.source.reference_planes import check_presets, exposed_again, with_references

if TYPE_CHECKING:  # the tap is made elsewhere
    from care_live.source.tap import Tap

logger = logging.getLogger(__name__)


def events_of(acquisition: AcquisitionConfig) -> list[dict[str, Any]]:
    """Return the events of an acquisition: time points, positions, channels, z, the last one fastest.

    Heights are counted, never added up to an end: pycromanager's own helper has one slice too many now and then.
    """
    positions: tuple[Position | None, ...] = acquisition.positions or (None,)
    z_indices = range(acquisition.z_planes)
    times = range(acquisition.first_time_point, acquisition.time_points)
    grid = product(times, positions, acquisition.channels, z_indices)
    events = [_event(acquisition, position, channel, t=t, z=z) for t, position, channel, z in grid]
    return events if acquisition.reference is None else exposed_again(events, acquisition.reference)


def _event(
    acquisition: AcquisitionConfig, position: Position | None, channel: Channel, *, t: int, z: int
) -> dict[str, Any]:
    event: dict[str, Any] = {
        "axes": {"time": t, "channel": channel.preset, "z": z},
        "config_group": [acquisition.channel_group, channel.preset],
        "exposure": channel.exposure_ms,
        "z": acquisition.z_start_um + z * acquisition.z_step_um,
    }
    if acquisition.interval_s > 0:
        event["min_start_time"] = (t - acquisition.first_time_point) * acquisition.interval_s
    if position is not None:
        event["axes"]["position"] = position.name
        event |= {"x": position.x_um, "y": position.y_um}
    return event


def planned_events(config: VirtualConfig | MicroManagerConfig) -> list[dict[str, Any]]:
    """Return all events that the settings ask for.

    Raises
    ------
    ConfigError
        The sequence cannot be read, or pycromanager cannot run it.
    """
    if config.sequence is None:
        return events_of(config.acquisition)
    return pycromanager_events(with_references(read_sequence(config.sequence), config.acquisition.reference))


def by_time_point(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the events of one time point after the other.

    pycromanager merges what it gets at once into hardware sequences, if the devices can; a whole time-lapse would
    be one sequence, and before its end it would not be known whether its planes are right.
    """
    for _, together in groupby(events, key=lambda event: event["axes"]["time"]):
        yield list(together)


def unmerged(event: dict[str, Any], stage: str) -> dict[str, Any]:
    """Return the event in the form that pycromanager never merges: the height as one stage's own position."""
    if "z" not in event:
        return event
    apart = {key: value for key, value in event.items() if key != "z"}
    return {**apart, "stage_positions": [[stage, event["z"]]]}


def plan_of(config: MicroManagerConfig | VirtualConfig, outline: Outline, core: Any) -> Plan:
    """Return what an acquisition will deliver, by its events and the camera's present size.

    Raises
    ------
    ConfigError
        The sequence of the config cannot be read.
    SourceError
        The camera does not give grey 8 or 16 bit images.
    """
    n_bytes = int(core.get_bytes_per_pixel())
    return Plan(
        stacks=outline.stacks,
        shape_px=(int(core.get_image_height()), int(core.get_image_width())),
        dtype=counts_dtype({1: "uint8", 2: "uint16", 4: "uint32"}.get(n_bytes, "uint64"), "the camera"),
        channels=outline.places.channels,
        positions=outline.places.positions,
        **steps_of(config, outline),
    )


class Steps(TypedDict):
    """The part of a plan that comes from the settings, not from the camera."""

    voxel_size_um: tuple[float, float, float]
    interval_s: float


def steps_of(config: MicroManagerConfig | VirtualConfig, outline: Outline) -> Steps:
    """Return the voxel size and the time from one time point to the next, as the settings ask for them.

    Raises
    ------
    ConfigError
        The sequence of the config cannot be read.
    """
    pixel_um = config.acquisition.pixel_size_um
    if config.sequence is None:
        step_um, wait_s = config.acquisition.z_step_um, config.acquisition.interval_s
    else:
        step_um, wait_s = round(outline.z_step_um or 1.0, 6), interval_s(read_sequence(config.sequence))
    return {"voxel_size_um": (step_um, pixel_um, pixel_um), "interval_s": wait_s}


def start_core(config: MicroManagerConfig) -> Any:
    """Start a core in this process, or connect to a running Micro-Manager.

    Raises
    ------
    ConfigError
        pycromanager is not installed, or a path is wrong.
    SourceError
        The core does not start, or no Micro-Manager answers.
    """
    pycromanager = need("pycromanager", extra="mm")
    if config.backend == "java":
        return _connect(pycromanager, config.port)
    folder = config.app_path or need("mm_test_adapters", extra="mm").device_adapter_path()
    file = Path(folder) / config.hardware_config
    if not file.is_file():
        raise ConfigError(f"there is no Micro-Manager configuration {file}: set app_path and hardware_config")
    try:
        pycromanager.start_headless(
            str(folder), str(file), python_backend=True, buffer_size_mb=config.circular_buffer_mib
        )
    except Exception as error:
        raise SourceError(f"Micro-Manager's core does not start with {file}: {one_line(error)}") from error
    return pycromanager.Core()


def release() -> None:
    """Unload this process's core: first end the camera's sequence, then unload the devices.

    The core itself stays until the process ends, because pycromanager's engine still points to it.
    """
    pycromanager, launcher = need("pycromanager", extra="mm"), need("mmpycorex.launcher", extra="mm")
    if launcher.is_pymmcore_active():
        core = pycromanager.Core()
        try:
            if core.is_sequence_running():
                core.stop_sequence_acquisition()
        except Exception as error:  # noqa: BLE001 - a driver that fails here must not keep the shutter open
            logger.warning("sequence=not-stopped reason=%s", one_line(error))
    pycromanager.stop_headless()


def _connect(pycromanager: Any, port: int) -> Any:
    try:
        return pycromanager.Core(port=port)
    except Exception as error:
        raise SourceError(
            f"no Micro-Manager answers on port {port}: start it and tick Tools > Options > Run server on port 4827"
        ) from error


def prepare(core: Any, acquisition: AcquisitionConfig) -> None:
    """Check that the devices can do what the config orders.

    Raises
    ------
    ConfigError
        A name comes twice, a channel has no preset, or there is no stage; the message lists what exists.
    """
    positions, presets = [p.name for p in acquisition.positions], [c.preset for c in acquisition.channels]
    if len(set(positions)) < len(positions) or len(set(presets)) < len(presets):
        raise ConfigError(f"positions {positions} or channels {presets} are named twice; planes would be overwritten")
    prepare_for(core, events_of(acquisition), hardware_sequence=acquisition.hardware_sequence)


def prepare_for(core: Any, events: list[dict[str, Any]], *, hardware_sequence: bool) -> None:
    """Check that the devices can run these events.

    Raises
    ------
    ConfigError
        A channel has no preset, or there is no stage; the message lists what exists.
    """
    asked = dict.fromkeys(tuple(event["config_group"]) for event in events if "config_group" in event)
    groups = _names(core.get_available_config_groups()) if asked else []
    for group, preset in asked:
        if group not in groups:
            raise ConfigError(f"channel_group is {group!r}; this Micro-Manager has {groups}")
        known = _names(core.get_available_configs(group))
        if preset not in known:
            raise ConfigError(f"group {group} has no preset {preset!r}; it has {known}")
    check_presets(events, lambda group, preset: settings_of(core, group, preset))
    stage = core.get_focus_device()
    if not stage and any("z" in event for event in events):
        raise ConfigError("this Micro-Manager has no focus stage: name one as Core-Focus in its configuration")
    if stage and hardware_sequence and core.has_property(stage, "UseSequences"):
        core.set_property(stage, "UseSequences", "Yes")  # simulated stages; real ones can or cannot


def cameras_of(core: Any, config: MicroManagerConfig | VirtualConfig) -> tuple[str, ...]:
    """Return the labels of the cameras that look at once; empty where there is only one.

    Raises
    ------
    SourceError
        The cameras differ in size, or the engine cannot read them.
    """
    labels = camera_labels(core)
    if labels and not (isinstance(config, MicroManagerConfig) and config.backend == "java"):
        raise SourceError(
            f"pycromanager's Python engine gives the first camera's pixels for all of {', '.join(labels)}: "
            'use source.kind = "pymmcore-plus", or backend = "java"'
        )
    refuse_different(formats_of(core, labels) if labels else [])
    return labels


def _names(vector: Any) -> list[str]:
    """Return a list of names, also of Java's vectors."""
    if hasattr(vector, "get"):
        return [str(vector.get(i)) for i in range(vector.size())]
    return [str(name) for name in vector]


class MicroManagerAcquisition:
    """One acquisition under way; its end is waited for in a thread of its own."""

    def __init__(self, events: list[dict[str, Any]], core: Any, tap: Tap, *, java_port: int | None = None) -> None:
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._acquisition: Any = None
        self._guard = CameraGuard(core, self._give_up) if java_port is None else None
        self._thread = threading.Thread(target=self._run, args=(events, tap, java_port), name="acquisition")
        self._thread.start()

    def _give_up(self, error: Exception) -> None:
        self._acquisition.abort(error)

    def _run(self, events: list[dict[str, Any]], tap: Tap, java_port: int | None) -> None:
        try:
            # here, too: to open one waits for ever where another program has a port that the bridge goes on to
            self._acquisition = _open_acquisition(tap, java_port)
            with self._acquisition as acquisition:
                for together in by_time_point(events):
                    acquisition.acquire(together)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._error = error
        finally:
            self._over.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end; False: not yet."""
        return self._over.wait(timeout_s)

    @property
    def error(self) -> str | None:
        """The error of the engine or of the camera."""
        if self._error is not None:
            return one_line(self._error)
        return self._guard.last_error if self._guard else None

    def abort(self) -> None:
        """Order the engine to stop; with a camera that hangs it may not react."""
        if self._acquisition is not None:
            threading.Thread(target=self._acquisition.abort, name="abort").start()


def _open_acquisition(tap: Tap, java_port: int | None) -> Any:
    pycromanager = need("pycromanager", extra="mm")
    hooks = {"image_process_fn": tap, "post_hardware_hook_fn": tap.hardware}
    if java_port is None:
        return pycromanager.Acquisition(None, "care_live", **hooks)
    return pycromanager.JavaBackendAcquisition(None, "care_live", show_display=False, port=java_port, **hooks)
