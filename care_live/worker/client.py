"""Inference in a process of its own: what goes wrong there costs a restart, not the run."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from care_live.config import RestoreConfig
from care_live.errors import RestoreError
from care_live.images import Restored, Volume, VolumeHead
from care_live.reasons import Choice
from care_live.restore import past
from care_live.restore.channel_choice import ChannelGroup
from care_live.restore.ranges import LearntRanges
from care_live.wire.codec import record_of
from care_live.worker import protocol
from care_live.worker.arrivals import Arrivals
from care_live.worker.buffers import moved_out
from care_live.worker.earlier_volumes import FindEarlier, find_none
from care_live.worker.hot_swap import HotSwap
from care_live.worker.inference_link import OpenInference
from care_live.worker.inference_process import Inference
from care_live.worker.shared_memory import Pool
from care_live.worker.supervisor import InferenceSupervisor, names_of
from care_live.worker.trial import Trial

logger = logging.getLogger(__name__)

_BUSY_S = 5.0  # how long an order waits for the volume that is being restored


class RestoreProcess:
    """The networks in a child process: `start`, `restore` volumes in order, `stop`.

    A child that dies or hangs is replaced at once, while the daemon goes on; its volume raises a RestoreError and is
    restored later from the store. The intensity ranges of earlier volumes are kept here, so that a restart does not
    show.

    Parameters
    ----------
    config : networks, provider, tiles, hang limit
    opens : starts the process, here or on another machine
    """

    def __init__(self, config: RestoreConfig, opens: OpenInference = Inference) -> None:
        self._config = config
        self._pool = Pool()
        self._turn = threading.Lock()  # one volume at a time
        self.arrivals = Arrivals(self._pool, config)
        """Planes of volumes that are still being recorded; never waits for a volume that is being restored."""
        self.hot_swap = HotSwap(config, opens)
        """Another network: ordered, tried, taken over."""
        self.supervisor = InferenceSupervisor(config, self.arrivals, self.hot_swap, opens)
        """The child, and how often it was lost."""
        self.choice: Choice | None = None
        """Whether the last volume was streamed, and why; None before the first."""
        self.held_bytes: tuple[int, ...] = ()
        """Memory that each of several networks kept after the last volume."""

    @property
    def networks(self) -> tuple[protocol.NetworkReady, ...]:
        """What runs: card, identity, provider of each network; once started."""
        if self.supervisor.ready is None:
            raise RestoreError("the inference process was not started: call start() first")
        return self.supervisor.ready.networks

    @property
    def network(self) -> protocol.NetworkReady:
        """The first network, of most runs the only one."""
        return self.networks[0]

    def start(self, like: protocol.Ready | None = None) -> None:
        """Start the child and wait until its networks are checked and warm.

        Parameters
        ----------
        like : what another process with the same networks says of itself: do not wait, it takes part once it is ready

        Raises
        ------
        ModelError, ConfigError, OutOfMemoryError
            The error that the child reports.
        RestoreError
            The child died, or was not ready in time.
        """
        with self._turn:
            if like is None:
                self.supervisor.start()
            else:
                self.supervisor.begin(like)

    def restore(
        self,
        volumes: Sequence[Volume],
        *,
        network: int | None = None,
        earlier: FindEarlier = find_none,
    ) -> tuple[Restored, ...]:
        """Restore one time point: one volume per input channel in, one result per output channel out.

        Parameters
        ----------
        earlier : finds volumes of the time points before, as many as the network reads; see `restore.past`
        network : number of the one that restores it, of volumes outside a run; None: that of its channel

        Raises
        ------
        RestoreError
            The network failed, or the child died or hung; raw is safe, and the child is being replaced.
        """
        with self._turn:
            running = self.supervisor.living()
            group = self._group(volumes, network)
            card = running.ready.networks[group.network].card
            read = past.completed(volumes, card.past, earlier(card.past))
            shared, why_whole = self.arrivals.shared_volume(read, card)
            heads = tuple(record_of(VolumeHead, volume) for volume in read)
            work = protocol.Work(
                heads,
                shared.addresses,
                shared.results,
                running.memories,
                self._pool.alive(),
                why_whole,
                group.network,
                group.outputs(len(card.channels_out)),
            )
            done = self.supervisor.ask(running, work)
            self.held_bytes = done.held_bytes
            self._note_choice(done)
            restored = shared.results_of(volumes, done)
            self._advance_swap(group.network, volumes, restored, earlier)
            return tuple(map(moved_out, restored)) if self._pool.is_crowded else restored

    def learn(self, memories: LearntRanges) -> None:
        """Take over what volumes taught that other processes restored."""
        with self._turn:
            self.supervisor.learn(memories)

    def revive(self) -> None:
        """Wait until the child is ready; replace one that is lost.

        Raises
        ------
        RestoreError
            It is stopped, or the child that replaces a lost one does not start.
        """
        with self._turn:
            self.supervisor.living()

    def watch(self) -> None:
        """Replace a child that is lost while no volume waits for it; to be called every now and then."""
        self.hot_swap.look()
        if self._turn.acquire(blocking=False):
            try:
                self.supervisor.look()
            finally:
                self._turn.release()

    def rollback(self) -> None:
        """Go back, at once, to the network before the last swap.

        Raises
        ------
        RestoreError
            There was no swap, or the running network works on one volume for too long.
        """
        if not self._turn.acquire(timeout=_BUSY_S):
            raise RestoreError(f"inference has been busy with one volume for {_BUSY_S:.0f} s; try again")
        try:
            if (running := self.supervisor.running) is not None:
                self.supervisor.take_over(self.hot_swap.go_back(running))
        finally:
            self._turn.release()

    @contextlib.contextmanager
    def if_idle(self) -> Iterator[bool]:
        """Keep volumes off for a moment; give whether that could be done without waiting.

        Within it, `InferenceSupervisor.change` may change to another network.
        """
        is_idle = self._turn.acquire(blocking=False)
        try:
            yield is_idle
        finally:
            if is_idle:
                self._turn.release()

    def stop(self, deadline_s: float = 10.0) -> None:
        """End the child: by a message, then by force; a `restore` in another thread then raises."""
        self.supervisor.stop(deadline_s)
        self.hot_swap.stop()

    def _group(self, volumes: Sequence[Volume], network: int | None) -> ChannelGroup:
        """Return which network restores a time point, and the channels of its results."""
        channels, read = self.arrivals.channels, tuple(volume.key.c for volume in volumes)
        found = channels.group_of(volumes[0].key) if channels is not None and network is None else None
        return replace(found, inputs=read) if found is not None else ChannelGroup(network or 0, read)

    def _note_choice(self, done: protocol.Done) -> None:
        if not done.choice.same_as(self.choice):
            logger.info("streaming kind=%s reason=%s: %s", done.choice.kind, done.choice.reason, done.choice)
        self.choice = done.choice

    def _advance_swap(
        self,
        network: int,
        volumes: Sequence[Volume],
        restored: tuple[Restored, ...],
        earlier: FindEarlier,
    ) -> None:
        """Let a candidate take its next step; it takes over when it has passed its trial."""
        if self.hot_swap.is_on_probation(network) and any("nan_fixed" in result.flags for result in restored):
            self.supervisor.take_back("gave no numbers")
        if (running := self.supervisor.running) is None:
            return
        streamed = self.choice is not None and self.choice.kind == "stream"
        usual_s = None if streamed else max(result.infer_s for result in restored)
        done = Trial(network, running.ready.networks[network].card, tuple(volumes), restored, usual_s, earlier)
        if (proved := self.hot_swap.advance(done, self._pool, running, self.arrivals.channels)) is not None:
            self.supervisor.take_over(proved)
            logger.info("swapped models=%s %s", names_of(proved.ready), self.hot_swap.state)
