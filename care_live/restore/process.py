"""Inference in a process of its own: what goes wrong there costs a restart, not the run."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live import errors
from care_live.config import RestoreConfig
from care_live.errors import CareLiveError, ConfigError, ModelError, RestoreError
from care_live.images import ModelIdentity, PlanePlaced, Restored, Volume, VolumeOpened, read_only
from care_live.model.card import Head, ModelCard
from care_live.restore import child as inference
from care_live.restore import talk
from care_live.restore.incoming import Incoming, Room, lay_out
from care_live.restore.normalise import Memory, known_before
from care_live.restore.shared import Pool

logger = logging.getLogger(__name__)

_NO_PIXELS = np.empty((0, 0, 0), np.uint16)
_PATIENCE = 5.0
"""A volume that takes so many times as long as usual hangs, if it takes longer than `hang_s` as well."""


@dataclass(slots=True)
class _Child:
    """One life of the inference process."""

    process: BaseProcess
    pipe: connection.Connection
    ready: talk.Ready | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """A request and the memory that it needs."""

    work: talk.Work
    room: Room

    def channel(self, c: int) -> dict[Head, NDArray[np.float32]]:
        """Return the maps of one output channel, (z, y, x)."""
        return {head: array[c] for head, array in self.room.maps.items()}


class RestoreProcess:
    """The engine in a child process: `start`, `restore` volumes in order, `stop`.

    A child that dies or hangs is replaced at once, while the daemon goes on; the volume it was at raises a
    RestoreError and is restored later from the store. What earlier volumes taught about intensity lives
    here, so that a restart does not show.

    Parameters
    ----------
    config : model, provider, tiles, hang limit
    start_s : seconds until a child must be ready
    """

    def __init__(self, config: RestoreConfig, *, start_s: float = 120.0) -> None:
        self._config, self._start_s = config, start_s
        self._child: _Child | None = None
        self._ready: talk.Ready | None = None
        self._pool = Pool()
        self._memories: dict[tuple[int, int], Memory] = {}
        self._incoming = Incoming(self._pool)
        self._usual_s = 0.0
        self.streaming = ""
        """Whether the last volume was streamed, or why not."""
        self._speaking = threading.Lock()  # guards the pipe's near end and what is on its way
        self._turn = threading.Lock()
        self._stopping = False
        self.n_restarts = 0
        """Children that had to be replaced."""

    @property
    def card(self) -> ModelCard:
        """The network's card, once started."""
        return self._started().card

    @property
    def identity(self) -> ModelIdentity:
        """Which network runs, once started."""
        return self._started().identity

    @property
    def provider(self) -> str:
        """Where it runs: cuda, cpu, …; once started."""
        return self._started().provider

    @property
    def process_id(self) -> int | None:
        """The child's number in the operating system."""
        return self._child.process.pid if self._child else None

    def start(self) -> None:
        """Start the child and wait until its network is checked and warm.

        Raises
        ------
        ModelError, ConfigError
            The child's own reason.
        RestoreError
            It died, or was not ready in time.
        """
        with self._turn:
            self._stopping = False
            self._child = self._spawn()
            try:
                self._await_ready(self._child)
            except CareLiveError:
                self._end(self._child, 0.0)
                self._child = None
                raise

    def restore(self, volumes: Sequence[Volume]) -> tuple[Restored, ...]:
        """Restore one time point: one volume per input channel in, one result per output channel out.

        Raises
        ------
        RestoreError
            The network refused, the child died or hung; raw is safe, and the child is being replaced.
        """
        with self._turn:
            child = self._living()
            job = self._job(volumes)
            with self._speaking:
                self._tell(child, job.work)
            done = self._wait_for(child)
            with self._speaking:
                self._incoming.answered()
            self._memories = dict(done.memories)
            self._note_streaming(done.streaming)
            return tuple(
                _result(volumes[outcome.source], outcome, job.channel(i), self.identity)
                for i, outcome in enumerate(done.outcomes)
            )

    def begin(self, opened: VolumeOpened) -> None:
        """A volume's first plane came: give it memory that inference sees, and let it start if it can.

        A hint: nothing is lost when it, or a plane, is never told. Does not wait for inference.
        """
        child = self._child
        if child is None or child.ready is None or len(child.ready.card.channels_in) != 1:
            return
        memory = self._memories.get((opened.key.p, opened.key.c), Memory())
        streams = self._config.streaming != "off" and child.ready.card.normalisation == "in-graph"
        span = known_before(memory, self._config.normalise) if streams else None
        with self._speaking:
            begin = self._incoming.begin(opened, child.ready.card, span)
            if begin is not None:
                self._tell(child, begin)

    def place(self, placed: PlanePlaced) -> None:
        """A plane is in place: copy it to where inference sees it, and tell. Does not wait for inference."""
        child = self._child
        with self._speaking:
            message = self._incoming.place(placed)
            if message is not None and child is not None:
                self._tell(child, message)

    def stop(self, deadline_s: float = 10.0) -> None:
        """End the child: kindly, then by force; a `restore` in another thread then raises."""
        self._stopping = True
        child, self._child = self._child, None
        if child is not None:
            self._end(child, deadline_s)

    def _started(self) -> talk.Ready:
        if self._ready is None:
            raise RestoreError("the inference process was not started: call start() first")
        return self._ready

    def _spawn(self) -> _Child:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=inference.main, args=(theirs, self._config), name="care-live-inference", daemon=True
        )
        process.start()
        theirs.close()
        return _Child(process, ours)

    def _living(self) -> _Child:
        """Return the child, ready; replace one that died since the last volume."""
        if self._stopping or self._child is None:
            raise RestoreError("the inference process is stopped: call start() first")
        if connection.wait([self._child.process.sentinel], timeout=0):
            self._replace(self._child, "died while idle")
        try:
            self._await_ready(self._child)
        except (ModelError, ConfigError) as error:
            raise RestoreError(f"the replaced inference process refuses to start: {error}") from error
        return self._child

    def _await_ready(self, child: _Child) -> talk.Ready:
        if child.ready is None:
            message = self._receive(child, self._start_s)
            if not isinstance(message, talk.Ready):
                raise ModelError(f"the inference process said {type(message).__name__} before it was ready")
            child.ready = self._ready = message
            logger.info("inference ready model=%s provider=%s", message.identity.name, message.provider)
        return child.ready

    def _wait_for(self, child: _Child) -> talk.Done:
        """Return the answer; learn how long that usually takes."""
        begun = time.monotonic()
        message = self._receive(child, max(self._config.hang_s, _PATIENCE * self._usual_s))
        if not isinstance(message, talk.Done):
            raise RestoreError(f"the inference process answered {type(message).__name__}")
        took_s = time.monotonic() - begun
        self._usual_s += 0.2 * (took_s - self._usual_s) if self._usual_s else took_s
        return message

    def _note_streaming(self, how: str) -> None:
        if how != self.streaming:
            logger.info("streaming now=%s", how)
        self.streaming = how

    def _receive(self, child: _Child, limit_s: float) -> Any:
        """Return the child's next message; raise its error again; replace it when it is dead or hangs."""
        woken = connection.wait([child.pipe, child.process.sentinel], timeout=limit_s)
        try:
            message = child.pipe.recv() if child.pipe.poll() else None
        except (EOFError, OSError):
            message = None
        if isinstance(message, talk.Failed):
            raise getattr(errors, message.kind)(message.message)
        if message is None:
            raise RestoreError(self._replace(child, "died" if woken else f"hung for {limit_s:.0f} s"))
        return message

    def _replace(self, child: _Child, what: str) -> str:
        """Kill the child, let another one start by itself, and return the reason in words."""
        self._end(child, 0.0)
        cause = f"the inference process {what} (exit code {child.process.exitcode})"
        if self._stopping:
            return f"{cause}; it was being stopped"
        self.n_restarts += 1
        self._child = self._spawn()
        logger.warning("inference_replaced reason=%s restarts=%d", what, self.n_restarts)
        return f"{cause}; another one is starting, raw is safe"

    def _end(self, child: _Child, deadline_s: float) -> None:
        if deadline_s > 0 and child.process.is_alive():
            with self._speaking:
                self._tell(child, talk.Stop())
            child.process.join(deadline_s)
        if child.process.is_alive():
            child.process.kill()
            child.process.join(5.0)
        child.pipe.close()

    def _job(self, volumes: Sequence[Volume]) -> _Job:
        """Take the room that the planes went into, or lay the volumes out now."""
        with self._speaking:
            taken = self._incoming.take(volumes[0]) if len(volumes) == 1 else None
        room, begun = taken or (lay_out(self._pool, self.card, volumes), False)
        bare = tuple(replace(volume, pixels=_NO_PIXELS) for volume in volumes)
        return _Job(
            talk.Work(bare, room.places, room.results, self._memories, self._pool.alive(), streamed=begun), room
        )

    def _tell(self, child: _Child, message: talk.Begin | talk.Placed | talk.Work | talk.Stop) -> None:
        """Send a message; that nobody hears it is noticed while waiting for the answer."""
        with suppress(OSError):
            child.pipe.send(message)


def _result(
    volume: Volume, outcome: talk.Outcome, maps: dict[Head, NDArray[np.float32]], identity: ModelIdentity
) -> Restored:
    found = {head: read_only(array) for head, array in maps.items()}
    return Restored(
        volume=volume,
        mean=found["mean"],
        laplace_scale=found.get("laplace_scale"),
        disagreement=found.get("disagreement"),
        voxel_size_um=outcome.voxel_size_um,
        low=outcome.low,
        high=outcome.high,
        model=identity,
        flags=outcome.flags,
        infer_s=outcome.infer_s,
        c_out=outcome.c_out,
    )
