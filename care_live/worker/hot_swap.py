"""Which networks run, which one is on trial and which ones ran before: a swap, and the way back.

A process has all networks of a run. So a candidate is a process with the same ones but for the new network, which is
tried on the volumes of its channels; the others are tried no further, since they run already.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from care_live.config import RestoreConfig
from care_live.errors import RestoreError
from care_live.images import ModelIdentity
from care_live.restore.channel_choice import ChannelChoice
from care_live.restore.ranges import LearntRanges
from care_live.worker import protocol
from care_live.worker.inference_link import OpenInference
from care_live.worker.inference_process import Inference, RunningNetworks
from care_live.worker.shared_memory import Pool
from care_live.worker.trial import Candidate, Trial

logger = logging.getLogger(__name__)

PROBATION = 3
"""Volumes that a network restores before a loss of its process no longer takes it back at once."""
_LOSSES = 2
"""Losses in a row that take it back later."""


class HotSwap:
    """The candidate and the networks before; safe to use from every thread.

    Parameters
    ----------
    config : of the running networks; all but the model of the new one stays
    opens : starts the process of a candidate
    """

    def __init__(self, config: RestoreConfig, opens: OpenInference = Inference) -> None:
        self._config, self._opens = config, opens
        self._guard = threading.Lock()  # held for moments, never during a wait for a network
        self._candidate: Candidate | None = None
        self._before: RunningNetworks | None = None
        self._is_new = False
        """Whether the running network came by a swap, and not by a rollback."""
        self._network = self._n_restored = 0
        self._channels: ChannelChoice | None = None
        self._is_held = False
        """Whether other workers change with this one: then it neither takes over nor goes back by itself."""
        self._failure = ""
        """How a network that took over with others has failed."""
        self._past: list[RunningNetworks] = []
        """Networks that are to be ended."""
        self._state = ""
        self._interval_s: Callable[[], float | None] = lambda: None

    @property
    def state(self) -> str:
        """State or result of the last swap; empty when there was none."""
        with self._guard:  # else a candidate may have passed, and `_changed` has not noted it yet
            candidate = self._candidate
            if candidate is None or candidate.phase == "proved":
                return self._state
            return f"refused: {candidate.reason}" if candidate.phase == "refused" else candidate.phase

    def order(
        self,
        model: Path,
        *,
        network: int = 0,
        interval_s: Callable[[], float | None] = lambda: None,
        even_if_slow: bool = False,
        together: Sequence[str] | None = None,
    ) -> None:
        """Load another network in the background; it takes over between two volumes once it has passed its trial.

        It is tried on a volume that the running network has just restored, and compared. A network that cannot run,
        hangs, is of another kind or too slow changes nothing; `state` has the reason.

        Parameters
        ----------
        network : number of the one that it replaces
        interval_s : returns the time from one time point to the next, seconds; None: not known
        even_if_slow : take it though it can't keep up
        together : what runs each network in other workers, too; once it has passed its trial it then waits for
            `change`
        """
        with self._guard:
            if self._candidate is not None and self._candidate.phase != "refused":
                self._candidate.refuse("another network was ordered")
            self._interval_s, self._is_held = interval_s, together is not None
            config = self._config.with_network(network, model)
            inference = self._opens(config if together is None else config.with_providers(together), {})
            self._candidate = Candidate(inference, network, even_if_slow=even_if_slow)

    def look(self) -> None:
        """Give up a candidate that hangs, also while no volume comes."""
        with self._guard:
            if self._candidate is not None:
                self._candidate.look()
            self._end_past()

    @property
    def is_proved(self) -> bool:
        """Whether a candidate has passed its trial and waits for `change`."""
        candidate = self._candidate
        return candidate is not None and candidate.phase == "proved" and not candidate.inference.is_dead

    @property
    def loaded(self) -> tuple[ModelIdentity, ...]:
        """What the candidate's process has loaded, all networks of the run; empty: there is none, or it still loads."""
        candidate = self._candidate
        ready = None if candidate is None else candidate.inference.ready
        return () if ready is None else tuple(one.identity for one in ready.networks)

    @property
    def refusal(self) -> str:
        """Why the candidate was refused; empty: it was not."""
        candidate = self._candidate
        return candidate.reason if candidate is not None and candidate.phase == "refused" else ""

    def take_failure(self) -> str:
        """Return, once, how a network has failed that took over with others, which are to go back, too."""
        with self._guard:
            why, self._failure = self._failure, ""
        return why

    @property
    def can_go_back(self) -> bool:
        """Whether the network before the last swap is kept."""
        return self._before is not None

    def refuse(self, reason: str) -> bool:
        """Give up the candidate, unless it was refused already; return whether there was one."""
        with self._guard:
            if self._candidate is None or self._candidate.phase == "refused":
                return False
            self._candidate.refuse(reason)
            return True

    def advance(
        self, done: Trial, pool: Pool, running: RunningNetworks, channels: ChannelChoice | None = None
    ) -> RunningNetworks | None:
        """Let the candidate take its next step; return it once it has passed its trial and takes over.

        Parameters
        ----------
        done : by the running network
        running : stays ready, for the way back
        channels : of each network
        """
        with self._guard:
            self._n_restored += done.network == self._network
            self._channels = channels
            candidate = self._candidate
            if candidate is None or candidate.phase == "refused":
                return None
            candidate.look()
            candidate.advance(done, pool, self._interval_s())
            return self._changed(candidate, running) if candidate.phase == "proved" and not self._is_held else None

    def change(self, running: RunningNetworks) -> RunningNetworks | None:
        """Return the candidate that was held, which takes over now; one that died since is replaced as any other."""
        with self._guard:
            candidate = self._candidate
            return None if candidate is None or candidate.comparison is None else self._changed(candidate, running)

    def kept_ranges(self, learnt: LearntRanges, running: Sequence[protocol.NetworkReady]) -> LearntRanges:
        """Return what the candidate takes over of what volumes taught; see `Candidate.kept_ranges`."""
        candidate = self._candidate
        return {} if candidate is None else candidate.kept_ranges(learnt, running, self._channels)

    def _changed(self, candidate: Candidate, running: RunningNetworks) -> RunningNetworks:
        if self._is_held and self._before is not None:  # to end it takes moments, which others would wait for
            self._past.append(self._before)
        else:
            self._end_before()
        self._before, self._candidate = running, None
        self._is_new, self._n_restored, self._network = True, 0, candidate.network
        self._state, self._config = str(candidate.comparison), candidate.inference.config
        fitting = candidate.kept_ranges(running.memories, running.ready.networks, self._channels)
        return RunningNetworks.begun(candidate.inference, candidate.ready, fitting)

    def go_back(self, running: RunningNetworks) -> RunningNetworks:
        """Return the network before the last swap; the running one takes its place.

        Raises
        ------
        RestoreError
            There was no swap.
        """
        with self._guard:
            if self._before is None:
                raise RestoreError("there was no swap to roll back")
            self._drop_candidate("the network that it was compared with was undone")
            before, self._before = self._before, running
            self._is_new, self._state, self._config = False, "rolled back", before.inference.config
            return before

    def take_back(self, why: str, n_losses: int = 0) -> RunningNetworks | None:
        """Return the network before where the new one fails: at once on probation, later after some losses in a row.

        Parameters
        ----------
        why : what happened to the new network, whose process is over
        n_losses : of its process, in a row
        """
        with self._guard:
            if self._before is None or not self._is_new or (self._n_restored >= PROBATION and n_losses < _LOSSES):
                return None
            if self._before.inference.is_dead:
                return None
            if self._is_held:
                self._failure = why
                return None
            self._drop_candidate(f"the network that it was compared with {why}")
            before, self._before = self._before, None
            self._config = before.inference.config
            self._is_new, self._state = False, f"rolled back: the new network {why}"
            logger.warning("swap_rolled_back reason=%s", why)
            return before

    def is_on_probation(self, network: int) -> bool:
        """Return whether the running network of this number has just taken over."""
        return self._is_new and network == self._network and self._n_restored < PROBATION

    def stop(self) -> None:
        """End the candidate and the network before."""
        with self._guard:
            candidate, self._candidate = self._candidate, None
            if candidate is not None and candidate.phase != "refused":
                candidate.inference.end(0.0)
            self._end_before()
            self._end_past()

    def _drop_candidate(self, why: str) -> None:
        """Give up one on trial: its process has the other networks as they were, and would bring them back."""
        candidate, self._candidate = self._candidate, None
        if candidate is not None and candidate.phase != "refused":
            candidate.refuse(why)

    def _end_past(self) -> None:
        while self._past:
            self._past.pop().inference.end(0.0)

    def _end_before(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            before.inference.end(0.0)
