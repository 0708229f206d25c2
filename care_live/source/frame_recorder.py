"""The part that taps of all engines share: it takes frames from any thread, and neither raises nor waits."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.errors import FrameError, ProtocolError
from care_live.images import Frame, Plan, PlaneIndex, RunEnded, RunStarted, SequenceEnded, read_only
from care_live.recorded.tags import Places, camera_of, number_of, stamp_of
from care_live.source.cameras import labels_in
from care_live.source.hardware_sequences import SequenceWatch
from care_live.source.outline import Axes, Outline
from care_live.source.tap_sender import Endpoint, TapSender
from care_live.wire.tap_protocol import FRAME_BYTES, MAX_SIDE_PX

logger = logging.getLogger(__name__)

Image: TypeAlias = NDArray[Any]
Tags: TypeAlias = dict[str, Any]
EndReason: TypeAlias = Literal["finished", "aborted", "failed", "stalled"]

_CAMERA_COUNTERS = ("CameraFrameCount", "FrameCount", "PVCAM-FrameNr", "Frame-Number", "FrameNumber")
"""Tags with the camera's own count; the core's ``ImageNumber`` is renumbered and proves nothing."""


class FrameRecorder:
    """One run that is sent to the daemon.

    Parameters
    ----------
    endpoint : the daemon
    outline : what will come
    summary : JSON-able description of the source
    on_stop : called once from the sending thread when the daemon orders the end
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
        self._announced: deque[list[Axes]] = deque()
        self._sequences = self._watch()
        self._sender = TapSender(endpoint, on_stop=self._stop, look=look)
        self._begun = False
        self._n_bad = self._n_stale = 0
        self._first_bad = ""
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
        return self._sender.n_delivered + self._sender.n_refused + self._n_bad + self._n_stale

    @property
    def quiet_s(self) -> float:
        """Seconds since the last frame, or since this feed was made."""
        return time.monotonic() - self._last_frame

    @property
    def daemon_silent_s(self) -> float:
        """Seconds since the last message of the daemon."""
        return self._sender.silent_s

    # -- from the engine's threads: nothing here may raise or wait ------------------------------------------------

    def frame(self, image: Image, tags: Tags, *, give: bool) -> None:
        """Take one frame.

        Parameters
        ----------
        image : (y, x) uint8 or uint16
        tags : Micro-Manager's metadata; their ``Axes`` are the frame's index
        give : the caller gives the image away, so that it need not be copied
        """
        try:
            self._take(image, tags, give=give)
        except Exception as error:  # noqa: BLE001 - an acquisition must never end because it is watched
            self.bad(error)

    def announce(self, axes: Callable[[], Iterable[Axes]]) -> None:
        """Note that the events with these axes are about to come as one hardware sequence."""
        try:
            self._announced.append(list(axes()))
        except Exception as error:  # noqa: BLE001 - as above
            self.bad(error)

    def bad(self, error: Exception) -> None:
        """Count what could not be used: the run will end as failed."""
        self._n_bad += 1
        if self._n_bad == 1:
            self._first_bad = str(error) or type(error).__name__
            logger.warning("tap cannot use a frame (this is logged once): %s", error)

    def _take(self, image: Image, tags: Tags, *, give: bool) -> None:
        now_ns = time.monotonic_ns()
        self._last_frame = now_ns / 1e9
        _check(image)
        axes: Axes = tags["Axes"]
        _check_camera(axes, tags)
        if not self._begun:
            self._meet_cameras(axes, tags)
        index = self.outline.places.index_of(axes)
        if not self._begun:
            if "reference" in axes:  # the plan, which the first frame makes, names the channel of both exposures
                self.outline.places.index_of({**axes, "reference": 1})
            self._begin(self._plan_of(image, tags))
        self._learn_sequences()
        camera_count = _whole(number_of(tags, *_CAMERA_COUNTERS))
        counted = self._sequences.take(
            index,
            camera=camera_of(axes, {}),
            image_number=_whole(number_of(tags, "ImageNumber")),
            camera_count=camera_count,
        )
        self._note(counted.ended)
        if counted.is_stale:
            self._stale(index, camera_count)
            return
        stamp = stamp_of(tags)
        given = give and image.flags.owndata and image.flags.c_contiguous
        self._sender.offer(
            Frame(
                run_id="tap",
                arrival=0,
                index=counted.plane,
                pixels=read_only(image if given else image.copy()),  # what is being sent must never change
                host_time_ns=now_ns,
                core_time_us=stamp.core_time_us,
                exposure_ms=stamp.exposure_ms,
                sequence_id=counted.sequence_id,
                camera_count=camera_count,
            )
        )
        self._note(self._sequences.complete())

    def _stale(self, index: PlaneIndex, camera_count: int | None) -> None:
        """Count a plane for which the camera gave no new frame: it is lost."""
        self._n_stale += 1
        if self._n_stale == 1:
            logger.warning("the camera gave no new frame for %s: number %s came once more", index, camera_count)

    def _watch(self) -> SequenceWatch:
        return SequenceWatch(self.outline.order, n_cameras=max(1, len(self.outline.cameras)))

    def _meet_cameras(self, axes: Axes, tags: Tags) -> None:
        """Plan for all cameras of a Multi Camera, where only the first frame shows that there is one."""
        if "camera" not in axes or self.outline.cameras:
            return
        cameras = labels_in(tags)
        if not cameras:
            logger.warning("the cameras are not known, so the plan is not: axes %s", dict(axes))
        self.outline = self.outline.seen_by(cameras) if cameras else Outline(Places())
        self._sequences = self._watch()

    def _learn_sequences(self) -> None:
        """Start the watch of sequences in the thread that brings frames: only the first frame names the cameras."""
        while self._announced:
            try:
                self._sequences.announce(self.outline.planes_of(self._announced.popleft()))
            except Exception as error:  # noqa: BLE001 - the frames come all the same
                self.bad(error)

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

    def verdict(self) -> tuple[EndReason, str]:
        """Return how a run without an error ended: by its planes."""
        if self._n_bad:
            return "failed", f"{self._n_bad} frames could not be used, the first because: {self._first_bad}"
        if self.n_came < self.n_planned:
            return "aborted", f"the acquisition ended after {self.n_came} of {self.n_planned} planes"
        return "finished", f"the camera gave no new frame for {self._n_stale} planes" if self._n_stale else ""

    def end(self, reason: EndReason, detail: str = "", *, within_s: float | None = None) -> None:
        """Note that no more frames come; only the first call counts."""
        if not self._begun:
            self._begin(Plan(stacks={}, shape_px=(1, 1)))
        self._learn_sequences()
        self._note(self._sequences.close(detail if reason == "failed" else None))
        self._sender.finish(RunEnded(reason, detail), within_s=within_s)

    def close(self, reason: EndReason | None = None, detail: str = "", *, within_s: float | None = None) -> bool:
        """End the run and wait until the daemon has everything.

        Returns
        -------
        bool
            False when the daemon refused this tap, or did not take everything within *within_s*; None: within a minute
            after the last frame that it took or stored.
        """
        if reason is None:
            reason, detail = self.verdict()
        self.end(reason, detail, within_s=within_s)
        return self._sender.join_finished() and self._sender.has_delivered

    def is_over(self) -> bool:
        """Return whether the sending thread has ended."""
        return self._sender.join(0.0)


def _check(image: Image) -> None:
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise FrameError(f"image is {image.dtype} of shape {image.shape}; wanted uint8 or uint16, (y, x)")
    if image.size == 0 or max(image.shape) > MAX_SIDE_PX or image.nbytes > FRAME_BYTES:
        raise FrameError(f"image of shape {image.shape} cannot be sent; wanted 1 to {FRAME_BYTES} bytes")


def _check_camera(axes: Axes, tags: Tags) -> None:
    """Refuse a second camera's frame that carries the first camera's pixels.

    Raises
    ------
    FrameError
        pycromanager's Python engine gives the first camera's pixels for every camera of a Multi Camera.
    """
    if "camera" not in axes and (number := number_of(tags, "CameraChannelIndex")):
        raise FrameError(
            f"the engine gives the first camera's pixels also for camera {number:g}: with several cameras, "
            "acquire with pymmcore-plus or with the Java Micro-Manager"
        )


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
