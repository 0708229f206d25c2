"""Planes of volumes that are still being recorded, on their way to inference: the intake never waits for it here."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence

from care_live.config import RestoreConfig
from care_live.errors import OutOfMemoryError
from care_live.images import PlanePlaced, Volume, VolumeOpened
from care_live.model.card import ModelCard
from care_live.restore.ranges import known_spans
from care_live.worker import protocol
from care_live.worker.buffers import Incoming, RestoredPlanes, Room, lay_out
from care_live.worker.inference_process import Inference, RunningNetwork
from care_live.worker.shared_memory import Pool

logger = logging.getLogger(__name__)


class Arrivals:
    """`Incoming` behind a lock that is held for moments only: intake and the restoring stage share it.

    Parameters
    ----------
    pool : memory to share
    config : streaming on or off, ranges
    """

    def __init__(self, pool: Pool, config: RestoreConfig) -> None:
        self._pool, self._config = pool, config
        self._guard = threading.Lock()
        self._incoming = Incoming(pool)
        self._running: RunningNetwork | None = None

    def go_to(self, running: RunningNetwork | None) -> None:
        """Send planes to this network's process from now on; the one before is dead, or there was none."""
        with self._guard:
            self._running = running

    def begin_anew(self) -> None:
        """Forget what the process was sent: another one takes over, and the old one may still write to its memory."""
        with self._guard:
            self._incoming = Incoming(self._pool, after=self._incoming)
            self._running = None

    def begin(self, opened: VolumeOpened) -> None:
        """Give a volume, at its first plane, memory that inference sees, and let inference start if it can.

        A hint: without it, or without some of the planes, the volume is restored once it is complete. Does not wait
        for inference.
        """
        with self._guard:
            if (running := self._running) is None:
                return
            card = running.ready.card
            streams = self._config.streaming != "off" and card.normalisation == "in-graph"
            ranges = self._config.normalise if streams else None
            if not (spans := known_spans(running.memories, opened.key, len(card.channels_in), ranges)):
                return
            try:
                begin = self._incoming.begin(opened, card, spans)
            except OutOfMemoryError as error:
                logger.warning("no_room_while_recording key=%s reason=%s", tuple(opened.key), error)
                return
            if begin is not None:
                running.inference.tell(begin)

    def place(self, placed: PlanePlaced) -> None:
        """Copy a plane that is in place to where inference sees it, and send word. Does not wait for inference."""
        with self._guard:
            self._incoming.place(placed)
            self._tell_news()

    def restored_planes(self) -> list[RestoredPlanes]:
        """Return planes that became final since the last call, of volumes that are still being recorded."""
        with self._guard:
            self._tell_news()
            return self._incoming.restored_planes()

    def room(self, volumes: Sequence[Volume], card: ModelCard) -> tuple[Room, bool]:
        """Return the room that the planes went into, or lay the volumes out now; whether inference has begun."""
        with self._guard:
            taken = self._incoming.take(volumes)
        return taken or (lay_out(self._pool, card, volumes), False)

    @contextlib.contextmanager
    def asked(self, inference: Inference, work: protocol.Work) -> Iterator[None]:
        """Send work; inside, inference may still be writing to the rooms of volumes that were given up."""
        with self._guard:
            given_up = self._incoming.let_go()
            inference.tell(work)
        try:
            yield
        finally:
            with self._guard:
                self._incoming.answered()
                given_up.clear()

    def _tell_news(self) -> None:
        if self._running is not None:
            for message in self._incoming.news():
                self._running.inference.tell(message)
