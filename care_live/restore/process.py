"""Inference in a process of its own: what goes wrong there costs a restart, not the run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from care_live.config import RestoreConfig
from care_live.errors import CareLiveError, ConfigError, ModelError, OutOfMemoryError, RestoreError
from care_live.images import ModelIdentity, PlanePlaced, Restored, Volume, VolumeOpened
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore import talk
from care_live.restore.incoming import NO_PIXELS, Incoming, RestoredPlanes, Room, lay_out, moved_out
from care_live.restore.inference_process import Inference, LostError
from care_live.restore.pace import Pace
from care_live.restore.ranges import Memories, Memory, known_spans
from care_live.restore.shared import Pool
from care_live.restore.swap import Candidate, Comparison

logger = logging.getLogger(__name__)

_START_S = 120.0  # until a child must be ready


class RestoreProcess:
    """The engine in a child process: `start`, `restore` volumes in order, `stop`.

    A child that dies or is silent is replaced at once, while the daemon goes on; the volume it was at raises a
    RestoreError and is restored later from the store. What earlier volumes taught about intensity lives
    here, so that a restart does not show.

    Parameters
    ----------
    config : model, provider, tiles, hang limit
    """

    def __init__(self, config: RestoreConfig) -> None:
        self._config = config
        self._inference: Inference | None = None
        self._ready: talk.Ready | None = None
        self._candidate: Candidate | None = None
        self._previous: tuple[Inference, Memories] | None = None
        self._pool = Pool()
        self._memories: Memories = {}
        self._arriving = threading.Lock()  # guards what is on its way
        self._incoming = Incoming(self._pool)
        self._turn = threading.Lock()  # one volume at a time
        self._stopping = False
        self._pace = Pace()
        self.streaming = ""
        """Whether the last volume was streamed, or why not."""
        self.n_restarts = 0
        """Children that had to be replaced."""
        self.n_losses_in_a_row = 0
        """Children that were lost, or refused to start, since the last volume was restored."""
        self.comparison: Comparison | None = None
        """Of the last swap: the new network against the old one; None after going back."""

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
        return self._inference.process_id if self._inference else None

    def start(self) -> None:
        """Start the child and wait until its network is checked and warm.

        Raises
        ------
        ModelError, ConfigError, OutOfMemoryError
            The child's own reason.
        RestoreError
            It died, or was not ready in time.
        """
        with self._turn:
            self._stopping = False
            inference = Inference(self._config)
            try:
                self._ready = inference.await_ready(_START_S)
            except CareLiveError as error:
                cause = inference.end(0.0)
                if isinstance(error, LostError):
                    raise RestoreError(f"the inference process {error} while it started ({cause})") from error
                raise
            self._inference = inference

    def restore(self, volumes: Sequence[Volume]) -> tuple[Restored, ...]:
        """Restore one time point: one volume per input channel in, one result per output channel out.

        Raises
        ------
        RestoreError
            The network refused, the child died or hung; raw is safe, and the child is being replaced.
        """
        with self._turn:
            inference = self._living()
            room, begun = self._room(volumes)
            bare = tuple(replace(volume, pixels=NO_PIXELS) for volume in volumes)
            work = talk.Work(bare, room.places, room.results, self._memories, self._pool.alive(), streamed=begun)
            restored = room.results_of(volumes, self._ask(inference, work).outcomes, self.identity)
            self._advance_swap(volumes, restored)
            return tuple(map(moved_out, restored)) if self._pool.is_crowded else restored

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Volumes (z, y, x) will come: let inference get ready for them meanwhile. Does not wait."""
        if self._inference is not None:
            self._inference.tell(talk.WarmUp(shape))

    def resume(self, spans: Mapping[tuple[int, int], Span]) -> None:
        """Go on with the intensity ranges, by position and channel, of a run that was interrupted."""
        enough = self._config.normalise.lock_after_volumes
        self._memories = dict(self._memories) | {place: Memory(span, enough) for place, span in spans.items()}

    def begin(self, opened: VolumeOpened) -> None:
        """A volume's first plane came: give it memory that inference sees, and let it start if it can.

        A hint: nothing is lost when it, or a plane, is never told. Does not wait for inference.
        """
        inference, ready = self._inference, self._ready
        if inference is None or ready is None:
            return
        streams = self._config.streaming != "off" and ready.card.normalisation == "in-graph"
        ranges = self._config.normalise if streams else None
        if not (spans := known_spans(self._memories, opened.key, len(ready.card.channels_in), ranges)):
            return
        with self._arriving:
            try:
                begin = self._incoming.begin(opened, ready.card, spans)
            except OutOfMemoryError as error:
                logger.warning("no_room_while_recording key=%s reason=%s", tuple(opened.key), error)
                return
            if begin is not None:
                inference.tell(begin)

    def place(self, placed: PlanePlaced) -> None:
        """A plane is in place: copy it to where inference sees it, and tell. Does not wait for inference."""
        with self._arriving:
            self._incoming.place(placed)
            self._tell_news()

    def restored_planes(self) -> list[RestoredPlanes]:
        """Return planes that became final since the last call, of volumes that are still being recorded."""
        with self._arriving:
            self._tell_news()
            return self._incoming.restored_planes()

    def watch(self) -> None:
        """Replace a child that is lost while nobody waits for it; to be called every now and then."""
        if self._turn.acquire(blocking=False):
            try:
                inference = self._inference
                if inference is not None and inference.ready is not None and (how := inference.lost()):
                    self._replace(inference, how)
            finally:
                self._turn.release()

    def swap(self, model: Path) -> None:
        """Load another network in the background; it takes over between two volumes once it has proved itself.

        It is tried on a volume that the running network has just restored, and compared. What it says then
        is in `comparison`; a network that cannot run, or is of another kind, changes nothing.
        """
        with self._turn:
            if self._candidate is not None and self._candidate.phase != "refused":
                self._candidate.refuse("another network was asked for")
            self._candidate = Candidate(model, self._config)

    @property
    def swap_phase(self) -> str:
        """loading, trying, or why the last candidate was refused; empty when there is none."""
        if (candidate := self._candidate) is None:
            return ""
        return f"refused: {candidate.reason}" if candidate.phase == "refused" else candidate.phase

    def rollback(self) -> None:
        """Go back, at once, to the network before the last swap.

        Raises
        ------
        RestoreError
            There was no swap.
        """
        with self._turn:
            if self._previous is None or self._inference is None:
                raise RestoreError("there was no swap to roll back")
            previous, self._previous = self._previous, (self._inference, self._memories)
            self.comparison = None
            self._take_over(*previous)

    def stop(self, deadline_s: float = 10.0) -> None:
        """End the child: kindly, then by force; a `restore` in another thread then raises."""
        self._stopping = True
        inference, self._inference = self._inference, None
        previous, self._previous = self._previous, None
        candidate, self._candidate = self._candidate, None
        for one in (inference, previous[0] if previous else None, candidate.inference if candidate else None):
            if one is not None:
                one.end(deadline_s if one is inference else 0.0)

    def _tell_news(self) -> None:
        """Tell inference of planes that it can take; the caller holds the lock."""
        if (inference := self._inference) is not None:
            for message in self._incoming.news():
                inference.tell(message)

    def _started(self) -> talk.Ready:
        if self._ready is None:
            raise RestoreError("the inference process was not started: call start() first")
        return self._ready

    def _living(self) -> Inference:
        """Return the child, ready; replace one that was lost since the last volume."""
        if self._stopping or self._inference is None:
            raise RestoreError("the inference process is stopped: call start() first")
        if how := self._inference.lost():
            self._replace(self._inference, how)
        inference = self._inference
        try:
            self._ready = inference.await_ready(_START_S)
        except LostError as lost:
            raise RestoreError(self._replace(inference, f"{lost} while it started")) from lost
        except (ModelError, ConfigError) as error:
            self.n_losses_in_a_row += 1
            raise RestoreError(f"the replaced inference process refuses to start: {error}") from error
        return inference

    def _ask(self, inference: Inference, work: talk.Work) -> talk.Done:
        """Let the child do it; learn what it has learnt, and what that usually costs."""
        cpu_s = inference.cpu_s
        with self._arriving:
            given_up = self._incoming.let_go()
            inference.tell(work)
        try:
            answer = inference.hear(cpu_limit_s=self._pace.limit_s(work.n_px, self.card))
        except LostError as lost:
            self._pace.died(work.n_px)
            raise RestoreError(self._replace(inference, str(lost))) from lost
        finally:
            with self._arriving:
                self._incoming.answered()
                given_up.clear()
        assert isinstance(answer, talk.Done), "inference answers work with what it has done"
        self.n_losses_in_a_row = 0
        self._pace.learn(work.n_px, inference.cpu_s - cpu_s)
        self._memories = answer.memories
        if not answer.chose_as(self.streaming):
            logger.info("streaming now=%s why=%s", answer.streaming, answer.why or "-")
        self.streaming = answer.streaming
        return answer

    def _replace(self, inference: Inference, what: str) -> str:
        """Kill the child, let another one start by itself, and return the reason in words."""
        cause = f"the inference process {what} ({inference.end(0.0)})"
        if self._stopping:
            return f"{cause}; it was being stopped"
        self.n_restarts += 1
        self.n_losses_in_a_row += 1
        self._inference = Inference(inference.config, self._pace.budget_px)
        logger.warning("inference_replaced reason=%s restarts=%d", what, self.n_restarts)
        return f"{cause}; another one is starting, raw is safe"

    def _room(self, volumes: Sequence[Volume]) -> tuple[Room, bool]:
        """Return the room that the planes went into, or lay the volumes out now; whether inference has begun."""
        with self._arriving:
            taken = self._incoming.take(volumes)
        return taken or (lay_out(self._pool, self.card, volumes), False)

    def _advance_swap(self, volumes: Sequence[Volume], restored: tuple[Restored, ...]) -> None:
        """Let a candidate take its next step; it takes over when it has proved itself."""
        if (candidate := self._candidate) is None or candidate.phase == "refused":
            return
        candidate.advance(self.card, volumes, restored, self._pool)
        if candidate.phase == "proved" and self._inference is not None:
            if self._previous is not None:
                self._previous[0].end(0.0)
            self._previous = (self._inference, self._memories)
            self.comparison, self._candidate = candidate.comparison, None
            self._take_over(candidate.inference, candidate.fitting(self._memories, self.card))
            logger.info("swapped model=%s comparison=%s", self.identity.name, self.comparison)

    def _take_over(self, inference: Inference, memories: Memories) -> None:
        """Make a child the running one; volumes on their way begin anew with it."""
        with self._arriving:
            self._incoming = Incoming(self._pool, after=self._incoming)
            self._inference, self._memories = inference, memories
            self._ready = inference.ready
