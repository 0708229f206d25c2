"""One inference process at a time: started, given work, replaced when it is lost."""

from __future__ import annotations

import itertools
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from care_live.config import RestoreConfig
from care_live.errors import CareLiveError, ConfigError, ModelError, RestoreError, WorkerLostError
from care_live.restore.ranges import LearntRanges
from care_live.worker import protocol
from care_live.worker.inference_link import InferenceLink, OpenInference
from care_live.worker.inference_process import Inference, RunningNetworks
from care_live.worker.liveness import LostError

if TYPE_CHECKING:  # the client makes them, and gives them here
    from care_live.worker.arrivals import Arrivals
    from care_live.worker.hot_swap import HotSwap

logger = logging.getLogger(__name__)

START_S = 120.0  # until a process must be ready
_MOST_STARTS = 5
"""Workers of other machines that may be lost while they start, before the run is refused."""


def names_of(ready: protocol.Ready) -> str:
    """Return the names of the networks that run."""
    return ", ".join(network.identity.name for network in ready.networks)


def _changed(before: RunningNetworks, failed: RunningNetworks | None) -> str:
    """Return the name of the network in whose place the one that failed had come."""
    others = () if failed is None else failed.ready.networks
    return ", ".join(one.identity.name for one in before.ready.networks if one not in others)


class InferenceSupervisor:
    """Keeps the networks running. Used by one thread at a time; its properties, `warm_up` and `stop` by any.

    Parameters
    ----------
    config : model, provider, hang limit
    arrivals : follow the process to which planes go
    hot_swap : has the network before, where there was a swap
    opens : starts a process
    """

    def __init__(
        self, config: RestoreConfig, arrivals: Arrivals, hot_swap: HotSwap, opens: OpenInference = Inference
    ) -> None:
        self._config, self._arrivals, self._hot_swap, self._opens = config, arrivals, hot_swap, opens
        self._stopping = False
        self._memories: LearntRanges = {}
        self.ready: protocol.Ready | None = None
        """What runs, also while it is replaced and after it was stopped; None before the start."""
        self.running: RunningNetworks | None = None
        self.n_restarts = 0
        """Processes that had to be replaced."""
        self.n_losses_in_a_row = 0
        """Processes that were lost, or refused to start, since the last volume was restored."""

    @property
    def process_id(self) -> int | None:
        """The process's number in the operating system."""
        running = self.running
        return running.inference.process_id if running else None

    @property
    def is_ready(self) -> bool:
        """Whether a volume would be restored now: the process runs, and its networks are checked and warm."""
        running = self.running
        return running is not None and running.inference.ready is not None and not running.inference.is_dead

    @property
    def is_absent(self) -> bool:
        """Whether it is to run on another machine, and none has been found yet."""
        running = self.running
        return running is not None and running.inference.is_absent

    @property
    def is_full(self) -> bool:
        """Whether its link is too slow for another volume that is being recorded."""
        running = self.running
        return running is not None and running.inference.is_full

    @property
    def host(self) -> str:
        """The other machine that it runs on; empty: this one, or not known yet."""
        running = self.running
        return "" if running is None else running.inference.host

    @property
    def learnt(self) -> LearntRanges:
        """What volumes so far taught about intensity."""
        running = self.running
        return {} if running is None else running.memories

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Let inference get ready for volumes (z, y, x) that will come. Does not wait."""
        if (running := self.running) is not None:
            running.inference.send(protocol.WarmUp(shape))

    def start(self) -> None:
        """Start a process and wait until its networks are checked and warm; see `RestoreProcess.start`."""
        self._stopping = False
        inference, ready = self._started()
        self._go_on_with(RunningNetworks.begun(inference, ready, self._memories))

    def _started(self) -> tuple[InferenceLink, protocol.Ready]:
        """Return a process that is ready; one that is lost on another machine while it starts is followed by the next.

        Raises
        ------
        RestoreError
            It is lost on this machine, or on others again and again.
        """
        begun_s = time.monotonic()
        for n_tries in itertools.count(1):
            inference = self._opens(self._config, {})
            try:
                return inference, inference.await_ready(START_S)
            except CareLiveError as error:
                host, cause = inference.host, inference.end(0.0)
                if not isinstance(error, LostError):
                    raise
                if not host or n_tries >= _MOST_STARTS or time.monotonic() - begun_s > START_S:
                    raise RestoreError(f"the inference process {error} while it started ({cause})") from error
                logger.warning("worker lost while it started host=%s reason=%s: another one is asked", host, error)
        raise AssertionError("the count has no end")

    def begin(self, like: protocol.Ready) -> None:
        """Start a process and wait for nothing: it takes part once it is ready, with the same networks as others."""
        self._stopping = False
        self._go_on_with(RunningNetworks.begun(self._opens(self._config, {}), like, self._memories))

    def learn(self, learnt: LearntRanges) -> None:
        """Go on with what volumes taught that another process restored."""
        memories = self._memories if self.running is None else self.running.memories
        self._memories = dict(memories) | dict(learnt)
        if self.running is not None:
            self._go_on_with(replace(self.running, memories=self._memories))

    def living(self) -> RunningNetworks:
        """Return the networks, their process ready; replace one that was lost since the last volume.

        Raises
        ------
        RestoreError
            It is stopped, or the process that replaces a lost one does not start.
        """
        running = self.running
        if running is not None and (how := running.inference.lost()):
            self.replace(running, how)
            running = self.running
        if self._stopping or running is None:
            raise RestoreError("the inference process is stopped: call start() first")
        try:
            ready = running.inference.await_ready(START_S)
        except LostError as lost:
            raise WorkerLostError(self.replace(running, f"{lost} while it started")) from lost
        except (ModelError, ConfigError) as error:
            self.n_losses_in_a_row += 1
            why = f"the replaced inference process refuses to start: {error}"
            raise RestoreError(why + self.take_back(why)) from error
        if ready is not running.ready:
            running = replace(running, ready=ready)
            self._go_on_with(running)
        return running

    def ask(self, running: RunningNetworks, work: protocol.Work) -> protocol.Done:
        """Let the process restore a time point; take over its ranges, and note the processor time.

        Raises
        ------
        WorkerLostError
            The process was lost and is being replaced.
        RestoreError
            The network failed.
        """
        inference, pace = running.inference, running.paces[work.network]
        cpu_s = inference.cpu_s
        try:
            with self._arrivals.asked(inference, work):
                answer = inference.receive(
                    cpu_limit_s=pace.limit_s(work.n_px, running.ready.networks[work.network].card)
                )
        except LostError as lost:
            pace.died(work.n_px)
            raise WorkerLostError(self.replace(running, str(lost))) from lost
        assert isinstance(answer, protocol.Done), "inference answers work with what it has done"
        self.n_losses_in_a_row = 0
        pace.learn(work.n_px, inference.cpu_s - cpu_s)
        if self.running is running:  # else it was stopped meanwhile
            self._go_on_with(replace(running, memories=answer.memories))
        return answer

    def look(self) -> None:
        """Replace a process that is lost while no volume waits for it, and note that a replaced one is ready."""
        running = self.running
        if running is None:
            return
        if running.inference.ready is not None:
            if how := running.inference.lost():
                self.replace(running, how)
        elif running.inference.has_news():
            try:
                self.living()
            except RestoreError as error:
                logger.warning("inference not ready: %s", error)

    def replace(self, lost: RunningNetworks, what: str) -> str:
        """End a process, start another one in the background, and return the reason in words."""
        cause = f"the inference process {what} ({lost.inference.end(0.0)})"
        if self._stopping:
            return f"{cause}; it was being stopped"
        self.n_restarts += 1
        self.n_losses_in_a_row += 1
        if back := self.take_back(what):
            return cause + back
        self._go_on_with(replace(lost, inference=self._opens(lost.inference.config, lost.budgets_px)))
        logger.warning("inference_replaced reason=%s restarts=%d", what, self.n_restarts)
        return f"{cause}; another one is starting, raw is safe"

    def take_back(self, why: str) -> str:
        """Go back to the network before the last swap where the new one fails; return that in words, or nothing."""
        before = self._hot_swap.take_back(why, self.n_losses_in_a_row)
        if before is None:
            return ""
        failed = self.running
        self.take_over(before)
        if failed is not None:
            failed.inference.end(0.0)
        return f"; {_changed(before, failed)}, the network before it, goes on"

    def take_over(self, networks: RunningNetworks) -> None:
        """Make these networks the running ones; volumes in flight begin anew with them."""
        self._arrivals.begin_anew()
        self._go_on_with(networks)

    def change(self, *, forward: bool) -> None:
        """Change, while volumes are kept off, to a candidate that was held, or to the network before."""
        if (running := self.running) is None:
            return
        if forward:
            network = self._hot_swap.change(running)
        else:
            network = self._hot_swap.go_back(running) if self._hot_swap.can_go_back else None
        if network is not None:
            self.take_over(network)

    def stop(self, deadline_s: float) -> None:
        """End the process: by a message, then by force."""
        self._stopping = True
        if (running := self.running) is not None:
            self._memories, self.running = running.memories, None
            self._arrivals.go_to(None)
            running.inference.end(deadline_s)

    def _go_on_with(self, networks: RunningNetworks) -> None:
        self.running, self.ready = networks, networks.ready
        self._arrivals.go_to(networks)
        if self._stopping:  # `stop` came between, and has ended another process
            self.running = None
            self._arrivals.go_to(None)
            networks.inference.end(0.0)
