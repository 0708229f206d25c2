"""Inference in a process of its own: what goes wrong there costs a restart, not the run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from care_live.config import RestoreConfig
from care_live.errors import CareLiveError, ConfigError, ModelError, RestoreError
from care_live.images import ModelIdentity, PlanePlaced, Restored, Volume, VolumeOpened
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore.ranges import Memories, Memory
from care_live.worker import protocol
from care_live.worker.arrivals import Arrivals
from care_live.worker.buffers import NO_PIXELS, RestoredPlanes, moved_out
from care_live.worker.hot_swap import HotSwap, RunningNetwork
from care_live.worker.inference_process import Inference, LostError
from care_live.worker.processor_pace import ProcessorPace
from care_live.worker.shared_memory import Pool
from care_live.worker.trial import Trial

logger = logging.getLogger(__name__)

_START_S = 120.0  # until a child must be ready
_BUSY_S = 5.0  # how long an order waits for the volume that is being restored


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
        self._ready: protocol.Ready | None = None
        self._swap = HotSwap(config)
        self._pool = Pool()
        self._memories: Memories = {}
        self._arrivals = Arrivals(self._pool, config)
        self._turn = threading.Lock()  # one volume at a time
        self._stopping = False
        self._pace = ProcessorPace()
        self.streaming = ""
        """Whether the last volume was streamed, or why not."""
        self.n_restarts = 0
        """Children that had to be replaced."""
        self.n_losses_in_a_row = 0
        """Children that were lost, or refused to start, since the last volume was restored."""

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
            self._go_on_with(inference)

    def restore(self, volumes: Sequence[Volume]) -> tuple[Restored, ...]:
        """Restore one time point: one volume per input channel in, one result per output channel out.

        Raises
        ------
        RestoreError
            The network refused, the child died or hung; raw is safe, and the child is being replaced.
        """
        with self._turn:
            inference = self._living()
            room, begun = self._arrivals.room(volumes, self.card)
            bare = tuple(replace(volume, pixels=NO_PIXELS) for volume in volumes)
            work = protocol.Work(bare, room.places, room.results, self._memories, self._pool.alive(), streamed=begun)
            restored = room.results_of(volumes, self._ask(inference, work).outcomes, self.identity)
            self._advance_swap(volumes, restored)
            return tuple(map(moved_out, restored)) if self._pool.is_crowded else restored

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Volumes (z, y, x) will come: let inference get ready for them meanwhile. Does not wait."""
        if self._inference is not None:
            self._inference.tell(protocol.WarmUp(shape))

    def resume(self, spans: Mapping[tuple[int, int], Span]) -> None:
        """Go on with the intensity ranges, by position and channel, of a run that was interrupted."""
        enough = self._config.normalise.lock_after_volumes
        self._memories = dict(self._memories) | {place: Memory(span, enough) for place, span in spans.items()}

    def begin(self, opened: VolumeOpened) -> None:
        """A volume's first plane came: give it memory that inference sees, and let it start if it can.

        A hint: nothing is lost when it, or a plane, is never told. Does not wait for inference.
        """
        if self._inference is not None and self._ready is not None:
            self._arrivals.begin(opened, self._ready.card, self._memories)

    def place(self, placed: PlanePlaced) -> None:
        """A plane is in place: copy it to where inference sees it, and tell. Does not wait for inference."""
        self._arrivals.place(placed)

    def restored_planes(self) -> list[RestoredPlanes]:
        """Return planes that became final since the last call, of volumes that are still being recorded."""
        return self._arrivals.restored_planes()

    def watch(self) -> None:
        """Replace a child that is lost while nothing waits for it; to be called every now and then."""
        self._swap.look()
        if self._turn.acquire(blocking=False):
            try:
                inference = self._inference
                if inference is not None and inference.ready is not None and (how := inference.lost()):
                    self._replace(inference, how)
            finally:
                self._turn.release()

    def swap(
        self, model: Path, *, interval_s: Callable[[], float | None] = lambda: None, even_if_slow: bool = False
    ) -> None:
        """Load another network in the background; it takes over between two volumes once it has proved itself.

        It is tried on a volume that the running network has just restored, and compared. A network that cannot run,
        hangs, is of another kind or too slow changes nothing; `swap_says` says so.

        Parameters
        ----------
        interval_s : asked for the time from one time point to the next, seconds; None: not known
        even_if_slow : take it though it can't keep up
        """
        self._swap.order(model, interval_s, even_if_slow=even_if_slow)

    @property
    def swap_says(self) -> str:
        """What the last swap is doing, or what came of it; empty when there was none."""
        return self._swap.says

    def rollback(self) -> None:
        """Go back, at once, to the network before the last swap.

        Raises
        ------
        RestoreError
            There was no swap, or the running network is at work for longer than one can wait.
        """
        if not self._turn.acquire(timeout=_BUSY_S):
            raise RestoreError(f"inference has been busy with one volume for {_BUSY_S:.0f} s; try again")
        try:
            if (running := self._running()) is not None:
                self._take_over(self._swap.go_back(running))
        finally:
            self._turn.release()

    def stop(self, deadline_s: float = 10.0) -> None:
        """End the child: kindly, then by force; a `restore` in another thread then raises."""
        self._stopping = True
        if (inference := self._inference) is not None:
            self._go_on_with(None)
            inference.end(deadline_s)
        self._swap.stop()

    def _started(self) -> protocol.Ready:
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
            why = f"the replaced inference process refuses to start: {error}"
            raise RestoreError(why + self._taken_back(why)) from error
        return inference

    def _ask(self, inference: Inference, work: protocol.Work) -> protocol.Done:
        """Let the child do it; learn what it has learnt, and what that usually costs."""
        cpu_s = inference.cpu_s
        try:
            with self._arrivals.asked(inference, work):
                answer = inference.hear(cpu_limit_s=self._pace.limit_s(work.n_px, self.card))
        except LostError as lost:
            self._pace.died(work.n_px)
            raise RestoreError(self._replace(inference, str(lost))) from lost
        assert isinstance(answer, protocol.Done), "inference answers work with what it has done"
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
        if back := self._taken_back(what):
            return cause + back
        self._go_on_with(Inference(inference.config, self._pace.budget_px))
        logger.warning("inference_replaced reason=%s restarts=%d", what, self.n_restarts)
        return f"{cause}; another one is starting, raw is safe"

    def _advance_swap(self, volumes: Sequence[Volume], restored: tuple[Restored, ...]) -> None:
        """Let a candidate take its next step; it takes over when it has proved itself."""
        if self._swap.on_probation and any("nan_fixed" in result.flags for result in restored):
            self._taken_back("gave no numbers")
        if (running := self._running()) is None:
            return
        usual_s = None if self.streaming == "streamed" else max(result.infer_s for result in restored)
        done = Trial(self.card, tuple(volumes), restored, usual_s)
        if (proved := self._swap.advance(done, self._pool, running)) is not None:
            self._take_over(proved)
            logger.info("swapped model=%s %s", self.identity.name, self._swap.says)

    def _taken_back(self, why: str) -> str:
        """Go back to the network before the last swap where the new one fails; say so, or nothing."""
        before = self._swap.take_back(why, self.n_losses_in_a_row)
        if before is None:
            return ""
        failed = self._inference
        self._take_over(before)
        if failed is not None:
            failed.end(0.0)
        return f"; {self.identity.name}, the network before it, goes on"

    def _go_on_with(self, inference: Inference | None) -> None:
        self._inference = inference
        self._arrivals.go_to(inference)

    def _running(self) -> RunningNetwork | None:
        return None if self._inference is None else RunningNetwork(self._inference, self._memories, self._pace)

    def _take_over(self, network: RunningNetwork) -> None:
        """Make a network the running one; volumes on their way begin anew with it."""
        self._arrivals.begin_anew(network.inference)
        self._inference, self._memories, self._pace = network.inference, network.memories, network.pace
        self._ready = network.inference.ready
