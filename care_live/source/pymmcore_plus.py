"""pymmcore-plus: run a useq sequence, or observe the one that napari-micromanager starts.

::

    from care_live.source.pymmcore_plus import observe
    observe(core, "tcp://127.0.0.1:5790")

The callbacks run in the acquisition's own thread, so they only hand over. (``run_mda(output=…)`` would go through
a relay thread whose queue has no bound.)

A sequence that is resumed goes on with the first volume that the store lacks, and exposes none that it has.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterable
from typing import Any

from care_live.errors import ConfigError, SourceError
from care_live.images import Plan
from care_live.imports import need
from care_live.recorded.recording import counts_dtype
from care_live.source.cameras import CameraFormat, refuse_different
from care_live.source.frame_recorder import FrameRecorder, Image, Tags
from care_live.source.mda_sequence import Sequence, outline_of_sequence, planned
from care_live.source.outline import Outline, outline_of
from care_live.source.reference_planes import check_presets
from care_live.source.tap_sender import MEMORY_BYTES, Endpoint
from care_live.source.useq_axes import UseqEvent, axes_and_height

logger = logging.getLogger(__name__)

Core = Any
"""CMMCorePlus."""


def observe(
    core: Core, address: str, *, events: Iterable[UseqEvent] | None = None, memory_bytes: int = MEMORY_BYTES
) -> Observer:
    """Send the frames of every sequence that this core runs, also those that another program starts, to a daemon.

    Parameters
    ----------
    events : what will be run, where that is a list or a generator of events and no ``useq.MDASequence``
    """
    outline = None if events is None else outline_of_sequence(events, cameras=camera_labels(core))
    return Observer(core, Endpoint(address, memory_bytes=memory_bytes), outline=outline)


class Observer:
    """Connected to a core's acquisition events until `close`; one `FrameRecorder` a sequence.

    Parameters
    ----------
    give : the images are used nowhere else, so that they need not be copied
    outline : what will come, where the sequence itself does not have it
    """

    def __init__(
        self,
        core: Core,
        endpoint: Endpoint,
        *,
        on_stop: Callable[[str], None] | None = None,
        give: bool = False,
        outline: Outline | None = None,
    ) -> None:
        self._core = core
        self._endpoint = endpoint
        self._on_stop = on_stop
        self._give = give
        self._outline = outline
        self._feed: FrameRecorder | None = None
        self._cameras: tuple[str, ...] = ()
        self._begun: queue.SimpleQueue[FrameRecorder] = queue.SimpleQueue()
        self._callbacks = {
            "sequenceStarted": self._started,
            "eventStarted": self._event,
            "frameReady": self._frame,
            "sequenceFinished": self._finished,
        }
        for signal, callback in self._callbacks.items():
            getattr(core.mda.events, signal).connect(callback)

    def wait_for_run(self, timeout_s: float) -> FrameRecorder:
        """Return the feed of the next sequence.

        Raises
        ------
        SourceError
            No sequence began in time.
        """
        try:
            return self._begun.get(timeout=timeout_s)
        except queue.Empty:
            raise SourceError(f"pymmcore-plus did not start its sequence within {timeout_s:.0f} s") from None

    @property
    def has_all_planes(self) -> bool:
        """Whether every planned plane of the present run came."""
        return self._feed is not None and self._feed.n_came >= self._feed.n_planned

    def _started(self, sequence: Sequence, meta: Tags) -> None:
        try:
            self._cameras = camera_labels(self._core)
            outline = self._outline or outline_of(map(axes_and_height, planned(sequence)), cameras=self._cameras)
            feed = FrameRecorder(
                self._endpoint, outline=outline, summary={"engine": "pymmcore-plus"}, on_stop=self._on_stop
            )
            feed.open(plan_of(outline, meta))
        except Exception as error:  # noqa: BLE001 - an acquisition must never end because it is watched
            logger.error("cannot send this sequence: %s", error)
            self._feed = None  # that of the sequence before takes none of this one's frames
            return
        self._feed = feed
        self._begun.put(feed)

    def _event(self, event: UseqEvent) -> None:
        """A hardware sequence is one event that has many."""
        together = getattr(event, "events", ())
        if self._feed is not None and len(together) > 1:
            self._feed.announce(lambda: [axes_and_height(one)[0] for one in together])

    def _frame(self, image: Image, event: UseqEvent, meta: Tags) -> None:
        if self._feed is None:
            return
        axes, _ = axes_and_height(event)
        if "cam" in event.index:
            axes["camera"] = self._label_of(event.index["cam"])
        tags = {
            "Axes": axes,
            "Exposure": meta.get("exposure_ms"),
            "ElapsedTime-ms": meta.get("runner_time_ms"),
            **meta.get("camera_metadata", {}),
        }
        self._feed.frame(image, tags, give=self._give)

    def _label_of(self, number: int) -> str:
        return self._cameras[number] if number < len(self._cameras) else f"camera {number}"

    def _finished(self, sequence: Sequence) -> None:
        if self._feed is not None and self._on_stop is None:  # otherwise the caller that runs it notes how it ended
            self._feed.end(*self._feed.verdict())

    def close(self, *, within_s: float | None = None) -> bool:
        """Stop observing; an unfinished run ends as aborted. Return False if the daemon did not take everything."""
        for signal, callback in self._callbacks.items():
            getattr(self._core.mda.events, signal).disconnect(callback)
        return self._feed is None or self._feed.close(within_s=within_s)


def camera_labels(core: Core) -> tuple[str, ...]:
    """Return the labels of the cameras that look at once; empty where there is only one."""
    n_cameras = core.getNumberOfCameraChannels()
    return tuple(core.getPhysicalCameraDevice(number) for number in range(n_cameras)) if n_cameras > 1 else ()


def plan_of(outline: Outline, meta: Tags) -> Plan:
    """Return what a sequence will deliver.

    Raises
    ------
    SourceError
        The camera does not give grey 8 or 16 bit images, or cameras that expose at the same time differ.
    """
    camera, *others = meta["image_infos"]
    refuse_different([_format_of(one) for one in others if one["camera_label"] in outline.cameras])
    height_px, width_px = camera["plane_shape"][:2]
    pixel_um = float(camera.get("pixel_size_um") or 1.0)
    return Plan(
        stacks=outline.stacks,
        shape_px=(int(height_px), int(width_px)),
        dtype=counts_dtype(camera["dtype"], "the camera"),
        voxel_size_um=(outline.z_step_um or 1.0, pixel_um, pixel_um),
        channels=outline.places.channels,
        positions=outline.places.positions,
    )


def _format_of(camera: Tags) -> CameraFormat:
    height_px, width_px = camera["plane_shape"][:2]
    return CameraFormat(camera["camera_label"], int(height_px), int(width_px), str(camera["pixel_format"]))


# -- running one ------------------------------------------------------------------------------------------------


def start_core(hardware_config: str) -> Core:
    """Start a core in this process.

    Raises
    ------
    SourceError
        The configuration does not load.
    """
    core = need("pymmcore_plus", extra="mm").CMMCorePlus.instance()
    try:
        core.loadSystemConfiguration(hardware_config)
    except Exception as error:
        raise SourceError(
            f"Micro-Manager's core does not load {hardware_config}: {str(error).splitlines()[0]}"
        ) from error
    return core


def outline_for(core: Core, sequence: Iterable[UseqEvent]) -> Outline:
    """Return what a sequence will deliver; look for what could not be sent before anything is exposed.

    Raises
    ------
    ConfigError
        Two of its events are the same plane, or the light of a reference would stay on.
    SourceError
        The camera does not give grey 8 or 16 bit images, or the cameras of the sequence differ.
    """
    outline = outline_of_sequence(sequence, cameras=camera_labels(core))
    infos = need("pymmcore_plus.metadata.functions", extra="mm").image_infos(core)
    plan_of(outline, {"image_infos": infos})
    check_presets(sequence, lambda group, preset: _settings_of(core, group, preset))
    if switched := _switched_to(core, sequence):
        if outline.cameras:
            raise SourceError(
                f"channels select the cameras {sorted(switched)} one by one, while {', '.join(outline.cameras)} expose "
                "together: let all channels use the Multi Camera, or none"
            )
        used = switched | {core.getCameraDevice()}
        refuse_different([_format_of(one) for one in infos if one["camera_label"] in used])
    return outline


def _settings_of(core: Core, group: str, preset: str) -> list[tuple[str, str]]:
    """Return the device and property of all that a preset sets."""
    if preset not in core.getAvailableConfigs(group):
        raise ConfigError(f"group {group} has no preset {preset!r}; it has {list(core.getAvailableConfigs(group))}")
    return [(str(device), str(name)) for device, name, _ in core.getConfigData(group, preset)]


def _switched_to(core: Core, sequence: Iterable[UseqEvent]) -> set[str]:
    """Return the cameras that the presets of a sequence's channels select."""
    channels = {(event.channel.group, event.channel.config) for event in planned(sequence) if event.channel is not None}
    known = [one for one in channels if one[1] in core.getAvailableConfigs(one[0])]
    settings = [setting for group, preset in known for setting in core.getConfigData(group, preset)]
    return {str(value) for device, name, value in settings if (device, name) == ("Core", "Camera")}


class SequenceAcquisition:
    """A sequence under way, in a thread of pymmcore-plus, whose frames an observer takes."""

    def __init__(self, core: Core, sequence: Iterable[UseqEvent], observer: Observer) -> None:
        self._core = core
        self._observer = observer
        self._complaints = _Complaints()
        logging.getLogger("pymmcore-plus").addHandler(self._complaints)
        self._thread = core.run_mda(sequence)

    @property
    def error(self) -> str | None:
        """The last warning of pymmcore-plus when planes are missing: it raises no error for a lost frame."""
        return None if self._observer.has_all_planes else self._complaints.last

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False: not yet."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def abort(self) -> None:
        """Order its end."""
        self._core.mda.cancel()


class _Complaints(logging.Handler):
    last: str | None = None

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().splitlines()
        self.last = lines[0] if lines else record.levelname
