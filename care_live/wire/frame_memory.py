"""Memory in which a tap puts frames for a daemon on the same machine; where there is none, pixels go over the link.

A frame over the link is copied four times on its way: into and out of two sockets, the door's and ZeroMQ's. Here the
tap writes it once, and the daemon reads it once. It is read and not mapped: where the owner of a mapped file makes it
shorter, the system ends the process that looks at it.

On Linux only, where the memory is a file without a name that ends with its processes (``memfd``). The daemon opens it
under ``/proc`` and takes nothing but such a file with the name that the tap has drawn: a client that names an open file
of another program gets no byte of it.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.checksum import crc32c
from care_live.errors import ProtocolError
from care_live.images import read_only
from care_live.wire.tap_protocol import FrameHead, MemoryOffer, pixel_type

logger = logging.getLogger(__name__)

SMALLEST_BYTES = 64 * 1024
"""A smaller frame costs no more over the link."""
MOST_BYTES = 256 * 1024**2
_MOST_SLOTS, _FEWEST_SLOTS = 8, 2
_PREFIX = "care-live-frames-"


class FrameMemory:
    """The tap's end: a slot holds one frame until the daemon has it. Belongs to one thread.

    Parameters
    ----------
    is_here : whether the daemon may be on this machine; else there is no memory
    most_bytes : it takes no more than this, and never more than `MOST_BYTES`
    """

    def __init__(self, *, is_here: bool, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = min(most_bytes, MOST_BYTES)
        self._may_offer = is_here and sys.platform == "linux"
        self._offered: MemoryOffer | None = None
        self._held: dict[int, int] = {}
        """The slot of each message that the daemon does not have."""
        self.is_read = False
        """Whether the daemon reads frames from it, as its newest answer says."""
        self.is_full = False
        """Whether the frame that was to be put waits for a slot, which the daemon's next answer frees."""

    def offer(self, frame_bytes: int) -> MemoryOffer | None:
        """Return memory for frames of this size, the same one each time; None: it is of no use, or there is none."""
        if self._offered is None and self._may_offer:
            n_slots = min(_MOST_SLOTS, self._most_bytes // max(1, frame_bytes))
            if frame_bytes >= SMALLEST_BYTES and n_slots >= _FEWEST_SLOTS:
                self._offered = _made(frame_bytes, n_slots)
        return self._offered

    def put(self, number: int, pixels: NDArray[Any]) -> int | None:
        """Write the frame of a message into a slot and return it; the same one when it is sent again.

        Returns
        -------
        int or None
            None: it goes over the link, or waits where the memory `is_full`.
        """
        self.is_full = False
        if self._offered is None or not self.is_read or number in self._held:
            return self._held.get(number) if self.is_read else None
        if len(self._held) == self._offered.n_slots:
            self.is_full = min(self._held) < number  # else those that hold them are sent behind this one
            return None
        slot = min(set(range(self._offered.n_slots)).difference(self._held.values()))
        if pixels.nbytes > self._offered.slot_bytes or not self._write(self._offered, slot, pixels):
            return None
        self._held[number] = slot
        return slot

    def _write(self, into: MemoryOffer, slot: int, pixels: NDArray[Any]) -> bool:
        rest, at = np.ascontiguousarray(pixels).data.cast("B"), slot * into.slot_bytes
        try:
            while rest:
                n_bytes = _write_at(into.descriptor, rest, at)
                rest, at = rest[n_bytes:], at + n_bytes
        except OSError as error:
            logger.info("a frame goes over the link: %s", error)
            return False
        return True

    def free_before(self, number: int) -> None:
        """Note that the daemon has every message before this one."""
        self._held = {held: slot for held, slot in self._held.items() if held >= number}

    def close(self) -> None:
        """Give the memory back; a daemon that has opened it can still read what it was sent."""
        if self._offered is not None:
            os.close(self._offered.descriptor)
        self._offered, self._may_offer = None, False


class FrameMemoryReader:
    """The daemon's end: reads the frames of one tap."""

    def __init__(self, descriptor: int, offer: MemoryOffer) -> None:
        self._descriptor, self._offer = descriptor, offer

    @classmethod
    def open(cls, offer: MemoryOffer) -> FrameMemoryReader | None:
        """Open what a tap offers; None: it is on another machine, or another user's, or not what it is said to be."""
        descriptor = _opened(offer)
        return None if descriptor is None else cls(descriptor, offer)

    def read(self, head: FrameHead, slot: int) -> NDArray[Any]:
        """Return a copy of a frame's pixels, (y, x), read-only.

        Raises
        ------
        ProtocolError
            They do not lie there.
        """
        dtype = pixel_type(head)
        n_bytes = head.shape_px[0] * head.shape_px[1] * dtype.itemsize
        if slot >= self._offer.n_slots or n_bytes > self._offer.slot_bytes:
            raise ProtocolError(f"frame {head.index} of {n_bytes} bytes has no place in slot {slot} of the memory")
        pixels: NDArray[Any] = np.empty(head.shape_px, dtype)
        self._fill(pixels.data.cast("B"), slot * self._offer.slot_bytes)
        if crc32c(pixels) != head.crc32c:
            raise ProtocolError(f"frame {head.index} has a wrong checksum")
        return read_only(pixels)

    def _fill(self, rest: memoryview, at: int) -> None:
        while rest:
            try:
                n_bytes = _read_at(self._descriptor, rest, at)
            except OSError as error:
                raise ProtocolError(f"the memory of the tap cannot be read: {error}") from error
            if n_bytes <= 0:
                raise ProtocolError(f"the memory of the tap ends {len(rest)} bytes before the frame")
            rest, at = rest[n_bytes:], at + n_bytes

    def close(self) -> None:
        os.close(self._descriptor)


if sys.platform == "linux":

    def _made(frame_bytes: int, n_slots: int) -> MemoryOffer | None:
        name = secrets.token_hex(16)
        try:
            descriptor = os.memfd_create(_PREFIX + name)
        except (OSError, AttributeError) as error:  # a Python that was built for an old system does not have it
            logger.info("frames go over the link: %s", error)
            return None
        return MemoryOffer(os.getpid(), descriptor, name, slot_bytes=frame_bytes, n_slots=n_slots)

    def _opened(offer: MemoryOffer) -> int | None:
        path, name = Path(f"/proc/{offer.pid}/fd/{offer.descriptor}"), Path(f"/memfd:{_PREFIX}{offer.name} (deleted)")
        try:
            if path.readlink() != name:  # first: opening some files does something
                return None
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        if Path(f"/proc/self/fd/{descriptor}").readlink() != name:  # it was exchanged in between
            os.close(descriptor)
            return None
        return descriptor

    def _write_at(descriptor: int, data: memoryview, at: int) -> int:
        return os.pwrite(descriptor, data, at)

    def _read_at(descriptor: int, into: memoryview, at: int) -> int:
        return os.preadv(descriptor, [into], at)

else:

    def _made(frame_bytes: int, n_slots: int) -> MemoryOffer | None:
        return None

    def _opened(offer: MemoryOffer) -> int | None:
        return None

    def _write_at(descriptor: int, data: memoryview, at: int) -> int:
        raise OSError("no memory is shared on this system")

    def _read_at(descriptor: int, into: memoryview, at: int) -> int:
        raise OSError("no memory is shared on this system")
