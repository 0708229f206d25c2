"""What a tap of any engine shares: frames in, by whatever thread brings them; nothing is raised, nothing waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.errors import FrameError, ProtocolError
from care_live.images import Frame, Plan, PlaneIndex, RunEnded, RunStarted, SequenceEnded, VolumeKey, read_only
from care_live.recorded.recording import stacks_of
from care_live.recorded.tags import Places, number_of, stamp_of
from care_live.source.hardware_sequences import SequenceWatch
from care_live.source.tap_protocol import FRAME_BYTES, MAX_SIDE_PX
from care_live.source.tap_sender import Endpoint, TapSender

logger = logging.getLogger(__name__)

Image: TypeAlias = NDArray[Any]
Tags: TypeAlias = dict[str, Any]
Reason: TypeAlias = Literal["finished", "aborted", "failed", "stalled"]

CLOSE_S = 60.0
"""How long a run's end waits for a daemon to take the last frames: a slow disk may hold it up."""
ABSENT_S = 10.0
"""How long it waits for a daemon that has never answered."""
_CAMERA_COUNTERS = ("CameraFrameCount", "FrameCount", "PVCAM-FrameNr", "Frame-Number", "FrameNumber")
"""Tags in which cameras count for themselves; the core's own ``ImageNumber`` is renumbered and proves nothing."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What the events of an acquisition say about the planes to come."""

    places: Places
    """Numbers of the positions and channels, as they are planned."""
    order: tuple[PlaneIndex, ...] = ()
    """Planned planes; empty: not known."""
    stacks: Mapping[VolumeKey, tuple[int, ...]] = field(default_factory=dict)
    """The same planes by volume."""
    z_step_um: float | None = None


def outline_of(axes_and_heights: Iterable[tuple[Mapping[str, Any], float | None]]) -> Outline:
    """Read what an acquisition will run: Micro-Manager's axes of every event, and its height in µm.

    Raises
    ------
    FrameError
        An event's axes name no plane.
    """
    places = Places()
    planned = [(places.index_of(axes), height) for axes, height in axes_and_heights]
    first = planned[0][0].volume if planned else None
    heights = sorted({height for index, height in planned if height is not None and index.volume == first})
    step = float(np.median(np.diff(heights))) if len(heights) > 1 else None
    order = tuple(index for index, _ in planned)
    return Outline(places, order, stacks_of(order), step)


class FrameRecorder:
    """One run on its way to the daemon.

    Parameters
    ----------
    endpoint : the daemon
    outline : what will come
    summary : JSON-able description of the source
    on_stop : called once from the sending thread when the daemon asks for the end
    look : called about five times a second from the sending thread
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        outline: Outline | None = None,
        summary: Mapping[str, Any] | None = None,
        on_stop: Callable[[str], None] | None = None,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self.outline = outline or Outline(Places())
        self._summary = dict(summary or {})
        self._on_stop = on_stop or self._end_at_once
        self._sequences = SequenceWatch(self.outline.order)
        self._sender = TapSender(endpoint, on_stop=self._stop, look=look)
        self._begun = False
        self._n_bad = 0
        self._last_frame = time.monotonic()

    def open(self, plan: Plan | None = None) -> None:
        """Start to send; a plan that is known is announced before the first frame."""
        self._sender.open()
        if plan is not None:
            self._begin(plan)

    @property
    def n_planned(self) -> int:
        return len(self.outline.order)

    @property
    def n_came(self) -> int:
        """Frames that the engine brought, taken, refused or of no use."""
        return self._sender.n_delivered + self._sender.n_refused + self._n_bad

    @property
    def quiet_s(self) -> float:
        """Seconds since the last frame, or since this feed was made."""
        return time.monotonic() - self._last_frame

    @property
    def daemon_silent_s(self) -> float:
        """Seconds since the daemon said anything."""
        return self._sender.silent_s

    # -- from the engine's threads: nothing here may raise or wait ------------------------------------------------

    def frame(self, image: Image, tags: Tags, index: PlaneIndex | None = None, *, give: bool) -> None:
        """Take one frame.

        Parameters
        ----------
        image : (y, x) uint8 or uint16
        tags : Micro-Manager's metadata
        index : where it belongs; None: the tags' ``Axes`` say it
        give : the caller gives the image away, so that it need not be copied
        """
        try:
            self._take(image, tags, index, give=give)
        except Exception as error:  # noqa: BLE001 - an acquisition must never end because it is watched
            self.bad(error)

    def announce(self, planes: Callable[[], Iterable[PlaneIndex]]) -> None:
        """Learn that some planes are about to come as one hardware sequence."""
        try:
            self._sequences.announce(planes())
        except Exception as error:  # noqa: BLE001 - as above
            self.bad(error)

    def bad(self, error: Exception) -> None:
        """Count what could not be used."""
        self._n_bad += 1
        if self._n_bad == 1:
            logger.warning("tap cannot use a frame, and says so only once: %s", error)

    def _take(self, image: Image, tags: Tags, index: PlaneIndex | None, *, give: bool) -> None:
        now_ns = time.monotonic_ns()
        self._last_frame = now_ns / 1e9
        _check(image)
        index = index or self.outline.places.index_of(tags["Axes"])
        if not self._begun:
            self._begin(self._plan_of(image, tags))
        camera_count = _whole(number_of(tags, *_CAMERA_COUNTERS))
        image_number = _whole(number_of(tags, "ImageNumber"))
        sequence_id, ended = self._sequences.take(index, image_number=image_number, camera_count=camera_count)
        self._note(ended)
        stamp = stamp_of(tags)
        given = give and image.flags.owndata and image.flags.c_contiguous
        self._sender.offer(
            Frame(
                run_id="tap",
                arrival=0,
                index=index,
                pixels=read_only(image if given else image.copy()),  # what is being sent must never change
                host_time_ns=now_ns,
                core_time_us=stamp.core_time_us,
                exposure_ms=stamp.exposure_ms,
                sequence_id=sequence_id,
                camera_count=camera_count,
            )
        )
        self._note(self._sequences.complete())

    # -- begin and end --------------------------------------------------------------------------------------------

    def _plan_of(self, image: Image, tags: Tags) -> Plan:
        pixel_um = number_of(tags, "PixelSizeUm", "PixelSize_um", "pixel_size_um") or 1.0
        return Plan(
            stacks=self.outline.stacks,
            shape_px=(image.shape[0], image.shape[1]),
            dtype=image.dtype.name,
            voxel_size_um=(self.outline.z_step_um or 1.0, pixel_um, pixel_um),
            channels=self.outline.places.channels,
            positions=self.outline.places.positions,
        )

    def _begin(self, plan: Plan) -> None:
        self._begun = True
        try:
            self._sender.start(RunStarted("tap", plan, self._summary))
        except ProtocolError as error:
            logger.error("the plan cannot be sent, so the daemon closes volumes late: %s", error)
            unknown = replace(plan, stacks={}, channels=plan.channels[:1], positions=plan.positions[:1])
            self._sender.start(RunStarted("tap", unknown, self._summary))

    def _note(self, ended: Iterable[SequenceEnded]) -> None:
        for sequence in ended:
            self._sender.note(sequence)

    def _stop(self, reason: str) -> None:
        logger.info("tap stops: %s", reason)
        self._on_stop(reason)

    def _end_at_once(self, reason: str) -> None:
        self.end("aborted", reason)

    def verdict(self) -> tuple[Reason, str]:
        """Return how a run without an error ended: by its planes."""
        if self.n_came < self.n_planned:
            return "aborted", f"the acquisition ended after {self.n_came} of {self.n_planned} planes"
        return "finished", f"{self._n_bad} frames could not be used" if self._n_bad else ""

    @property
    def _close_s(self) -> float:
        return CLOSE_S if self._sender.has_answered else ABSENT_S

    def end(self, reason: Reason, detail: str = "", *, within_s: float | None = None) -> None:
        """Say that no more frames come; only the first time counts."""
        if not self._begun:
            self._begin(Plan(stacks={}, shape_px=(1, 1)))
        self._note(self._sequences.close(detail if reason == "failed" else None))
        self._sender.finish(RunEnded(reason, detail), within_s=self._close_s if within_s is None else within_s)

    def close(self, reason: Reason | None = None, detail: str = "", *, within_s: float | None = None) -> bool:
        """End the run and wait until the daemon has everything.

        Returns
        -------
        bool
            False when the thread is still at work after *within_s*.
        """
        if reason is None:
            reason, detail = self.verdict()
        within_s = self._close_s if within_s is None else within_s
        self.end(reason, detail, within_s=within_s)
        return self._sender.join(within_s + 1.0)

    def is_over(self) -> bool:
        """Tell whether the sending thread has ended."""
        return self._sender.join(0.0)


def _check(image: Image) -> None:
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise FrameError(f"image is {image.dtype} of shape {image.shape}; wanted uint8 or uint16, (y, x)")
    if image.size == 0 or max(image.shape) > MAX_SIDE_PX or image.nbytes > FRAME_BYTES:
        raise FrameError(f"image of shape {image.shape} cannot be sent; wanted 1 to {FRAME_BYTES} bytes")


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
