"""The tap on pycromanager's image stream: hands every frame over and returns, whatever happens behind it.

::

    from care_live.source import tap
    Acquisition(directory, name, image_process_fn=tap("tcp://127.0.0.1:5790"))

A slow daemon, a broken link or a full memory never reach the acquisition. The run ends when the thread that
brings the frames ends (pycromanager's, at the end of every acquisition), when the script ends, or on `close`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from care_live.errors import FrameError
from care_live.images import Frame, Plan, PlaneIndex, RunEnded, RunStarted, SequenceEnded, read_only
from care_live.recorded.recording import stacks_of
from care_live.recorded.tags import Places, number_of, stamp_of
from care_live.source.sender import MEMORY_BYTES, Endpoint, Sender
from care_live.source.sequences import SequenceWatch
from care_live.wire.keys import ClientKeys, check_public, read_pair

logger = logging.getLogger(__name__)

Image = NDArray[Any]
Tags = dict[str, Any]
Event = Mapping[str, Any]
"""One acquisition event of pycromanager."""

_CLOSE_S = 10.0
_CAMERA_COUNTERS = ("CameraFrameCount", "FrameCount", "PVCAM-FrameNr", "Frame-Number", "FrameNumber")
"""Tags in which cameras count for themselves; the core's own ``ImageNumber`` is renumbered and proves nothing."""


def tap(
    address: str,
    *,
    events: Iterable[Event] | None = None,
    pass_on: bool = True,
    memory_bytes: int = MEMORY_BYTES,
    key_file: Path | None = None,
    daemon_key: str | None = None,
) -> Tap:
    """Return a tap for ``image_process_fn`` that sends frames to a daemon.

    Parameters
    ----------
    address : ``tcp://HOST:PORT``, where the daemon's ``source.bind`` is
    events : the events of the acquisition, so that the daemon knows from the start what will come
    pass_on : return the images, so that pycromanager still saves them; False: care_live is the only consumer
    memory_bytes : frames that may wait for the daemon; when they fill it, whole volumes are refused
    key_file, daemon_key : own CURVE key file and the daemon's public key, when it is not on this machine

    Raises
    ------
    ConfigError
        The address or a key is none.
    """
    keys = ClientKeys(read_pair(key_file), check_public(daemon_key)) if key_file and daemon_key else None
    endpoint = Endpoint(address, keys=keys, memory_bytes=memory_bytes)
    opened = Tap(endpoint, outline=outline_of(events) if events is not None else None, pass_on=pass_on)
    opened.open()
    return opened


class Outline:
    """What the events of an acquisition say about the planes to come."""

    def __init__(self, places: Places, order: Sequence[PlaneIndex], *, z_step_um: float | None) -> None:
        self.places = places
        self.order = order
        self.z_step_um = z_step_um


def outline_of(events: Iterable[Event]) -> Outline:
    """Read the events that an acquisition will run.

    Raises
    ------
    FrameError
        An event's axes name no plane.
    """
    listed = list(events)
    places = Places()
    order = [places.index_of(event["axes"]) for event in listed]
    heights = sorted({float(event["z"]) for event in listed if event.get("z") is not None})
    steps = np.diff(heights)
    return Outline(places, order, z_step_um=float(np.median(steps)) if len(steps) else None)


class Tap:
    """Callable for pycromanager's ``image_process_fn``; its `hardware` is for ``post_hardware_hook_fn``."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        outline: Outline | None = None,
        plan: Plan | None = None,
        summary: Mapping[str, Any] | None = None,
        pass_on: bool = True,
        on_stop: Callable[[str], None] | None = None,
        ends_with_producer: bool = True,
    ) -> None:
        self._ends_with_producer = ends_with_producer
        self._outline = outline
        self._places = outline.places if outline else Places()
        self._plan = plan
        self._summary = dict(summary or {})
        self._pass_on = pass_on
        self._on_stop = on_stop
        self._sequences = SequenceWatch(outline.order if outline else ())
        self._producer: threading.Thread | None = None
        self._begun = False
        self._n_bad = 0
        self.sender = Sender(endpoint, on_stop=self._stop, look=self._look)
        self.last_frame = time.monotonic()
        """When the last frame came, monotonic seconds."""

    def open(self) -> None:
        """Start to send; a known plan is announced at once."""
        self.sender.open()
        if self._plan is not None:
            self._begin(self._plan)

    # -- called by the engine: must not raise, must not wait -----------------------------------------------------

    def __call__(self, image: Image, metadata: Tags) -> tuple[Image, Tags] | None:
        try:
            self._hand_over(image, metadata)
        except Exception as error:  # noqa: BLE001 - an acquisition must never end because it is watched
            self._count_bad(error)
        return (image, metadata) if self._pass_on else None

    def hardware(self, event: Any) -> Any:
        """Hook for the engine: a list of events is one hardware sequence; returned as it came."""
        try:
            if isinstance(event, list) and len(event) > 1:
                self._sequences.announce(self._places.index_of(one["axes"]) for one in event)
        except Exception as error:  # noqa: BLE001 - as above
            self._count_bad(error)
        return event

    def _hand_over(self, image: Image, tags: Tags) -> None:
        now_ns = time.monotonic_ns()
        self.last_frame = now_ns / 1e9
        index = self._places.index_of(tags["Axes"])
        if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
            raise FrameError(f"image is {image.dtype} of shape {image.shape}; wanted uint8 or uint16, (y, x)")
        if not self._begun:
            self._begin_with(image, tags)
        self._producer = threading.current_thread()
        image_number, camera_count = number_of(tags, "ImageNumber"), number_of(tags, *_CAMERA_COUNTERS)
        sequence_id, ended = self._sequences.take(
            index,
            image_number=None if image_number is None else int(image_number),
            camera_count=None if camera_count is None else int(camera_count),
        )
        self._note(ended)
        stamp = stamp_of(tags)
        whole = image.flags.owndata and image.flags.c_contiguous and not self._pass_on
        self.sender.offer(
            Frame(
                run_id="tap",
                arrival=0,
                index=index,
                pixels=read_only(image if whole else image.copy()),  # nobody else may change what is being sent
                host_time_ns=now_ns,
                core_time_us=stamp.core_time_us,
                exposure_ms=stamp.exposure_ms,
                sequence_id=sequence_id,
                camera_count=None if camera_count is None else int(camera_count),
            )
        )
        self._note(self._sequences.complete())

    # -- begin and end ------------------------------------------------------------------------------------------

    def _begin_with(self, image: Image, tags: Tags) -> None:
        pixel_um = number_of(tags, "PixelSizeUm", "PixelSize_um") or 1.0
        outline = self._outline
        z_um = (outline.z_step_um if outline else None) or 1.0
        self._begin(
            Plan(
                stacks=stacks_of(outline.order) if outline else {},
                shape_px=(image.shape[0], image.shape[1]),
                dtype=image.dtype.name,
                voxel_size_um=(z_um, pixel_um, pixel_um),
                channels=self._places.channels,
                positions=self._places.positions,
            )
        )

    def _begin(self, plan: Plan) -> None:
        self._begun = True
        self.sender.start(RunStarted("tap", plan, self._summary))

    def _note(self, ended: Iterable[SequenceEnded]) -> None:
        for sequence in ended:
            self.sender.note(sequence)

    def _count_bad(self, error: Exception) -> None:
        self._n_bad += 1
        if self._n_bad == 1:
            logger.warning("tap cannot use a frame, and says so only once: %s", error)

    def _stop(self, reason: str) -> None:
        logger.info("tap stops: %s", reason)
        if self._on_stop is not None:
            self._on_stop(reason)
        else:
            self._end("aborted", reason, within_s=_CLOSE_S)

    def _look(self) -> None:
        """End the run when nobody can bring frames any more; runs in the sender's thread."""
        source = self._producer if self._producer is not None and self._ends_with_producer else None
        if not (source or threading.main_thread()).is_alive():
            self._end(*self._verdict(), within_s=_CLOSE_S)

    def _verdict(self) -> tuple[Literal["finished", "aborted"], str]:
        n_came = self.sender.n_delivered + self.sender.n_refused
        n_planned = len(self._outline.order) if self._outline else n_came
        if n_came < n_planned:
            return "aborted", f"the acquisition ended after {n_came} of {n_planned} planes"
        return "finished", f"{self._n_bad} frames could not be used" if self._n_bad else ""

    def _end(
        self, reason: Literal["finished", "aborted", "failed", "stalled"], detail: str, *, within_s: float
    ) -> None:
        if not self._begun:
            self._begin(self._plan or Plan(stacks={}, shape_px=(0, 0)))
        self._note(self._sequences.close(detail if reason == "failed" else None))
        self.sender.finish(RunEnded(reason, detail), within_s=within_s)

    def close(
        self,
        reason: Literal["finished", "aborted", "failed", "stalled"] | None = None,
        detail: str = "",
        *,
        within_s: float = _CLOSE_S,
    ) -> bool:
        """End the run and wait until the daemon has everything.

        Returns
        -------
        bool
            False when the daemon did not take everything within *within_s*.
        """
        if reason is None:
            reason, detail = self._verdict()
        self._end(reason, detail, within_s=within_s)
        return self.sender.join(within_s + 1.0)

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.close("failed", f"{kind.__name__ if kind else 'error'}: {error}")
        else:
            self.close()
