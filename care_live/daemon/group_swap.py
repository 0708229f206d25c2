"""Another network for several workers: all of them change before the same volume, or not one does."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from care_live.errors import RestoreError
from care_live.images import VolumeKey
from care_live.worker.client import RestoreProcess

logger = logging.getLogger(__name__)

_Change: TypeAlias = Literal["", "forward", "back"]


class GroupSwap:
    """Loads and tries a candidate beside every worker's network; safe to use from every thread.

    They change as a job is taken, while no other one is being restored: those before it are of the network before, that
    one and all after it are of the new one.

    Parameters
    ----------
    workers : all of them
    changes : called before each change, forward (True) or back
    """

    def __init__(self, workers: Sequence[RestoreProcess], changes: Callable[[bool], None]) -> None:
        self._workers, self._changes = tuple(workers), changes
        self._guard = threading.Lock()  # held for moments
        self._wanted: _Change = ""
        self._moving: set[VolumeKey] = set()
        """First volumes of time points whose worker was lost, and that another one will restore in their place."""

    def order(self, model: Path, network: int, *, interval_s: Callable[[], float | None], even_if_slow: bool) -> None:
        """Load a network beside each worker's; see `HotSwap.order`.

        Raises
        ------
        RestoreError
            A way back is ordered, and no volume has come since.
        """

        def of_each() -> float | None:
            return None if (all_s := interval_s()) is None else all_s * len(self._workers)

        with self._guard:
            if self._wanted == "back":
                raise RestoreError("all workers go back before the next volume: order another network after it")
            self._wanted = ""
        together = tuple(one.provider for one in self._workers[0].networks)
        for worker in self._workers:
            worker.hot_swap.order(
                model, network=network, interval_s=of_each, even_if_slow=even_if_slow, together=together
            )
        with self._guard:
            self._wanted = "forward"

    def give_up(self, reason: str) -> bool:
        """Give up the network on trial, in every worker; return whether there was one.

        After a way back it would take over with the others as they were when it was ordered.
        """
        with self._guard:
            if self._wanted == "forward":
                self._wanted = ""
            given_up = [worker.hot_swap.refuse(reason) for worker in self._workers]
        return any(given_up)

    def order_back(self) -> None:
        """Go back to the network before, from the next volume on.

        Raises
        ------
        RestoreError
            There was no swap.
        """
        with self._guard:
            if not self._can_go_back:
                raise RestoreError("there was no swap to roll back")
            self._wanted = "back"

    @property
    def state(self) -> str:
        """State or result of the last swap: of the worker that is least ready; empty when there was none."""
        with self._guard:  # else, while they change, the result of the swap before would show
            states, wanted = [worker.hot_swap.state for worker in self._workers], self._wanted
        for phase in ("refused", "loading", "trying"):
            if found := next((state for state in states if state.startswith(phase)), ""):
                return found
        return f"all workers go {wanted} before the next volume" if wanted else states[0]

    def look(self) -> None:
        """Give a candidate up everywhere once one worker has refused it."""
        refused = next((one.hot_swap.refusal for one in self._workers if one.hot_swap.refusal), "")
        with self._guard:
            if self._wanted != "forward" or not refused:
                return
            self._wanted = ""
        for worker in self._workers:
            worker.hot_swap.refuse(f"another worker refused it: {refused}")

    def may_take(self, key: VolumeKey, at_work: Collection[VolumeKey]) -> bool:
        """Return whether a time point may be taken now; change first where all workers are ready for that.

        Parameters
        ----------
        key : its first volume
        at_work : volumes that are being restored
        """
        with self._guard:
            if key in self._moving:  # its place is before the change
                return True
            change = self._ready()
            if not change:
                return True
            if at_work or self._moving:
                return False
            if self._change(change):
                logger.info("workers_changed direction=%s first_key=%s", change, tuple(key))
            return True

    def moves(self, key: VolumeKey) -> None:
        """Note that another worker will restore a time point, given by its first volume, whose worker was lost."""
        with self._guard:
            self._moving.add(key)

    def taken(self, key: VolumeKey) -> None:
        """Note that a worker has taken a time point, given by its first volume."""
        with self._guard:
            self._moving.discard(key)

    @property
    def _can_go_back(self) -> bool:
        return all(worker.hot_swap.can_go_back for worker in self._workers)

    def _ready(self) -> _Change:
        """Return the change for which all workers are ready."""
        for worker in self._workers:
            if (why := worker.hot_swap.take_failure()) and self._can_go_back:
                logger.warning("swap_rolled_back reason=the new network %s", why)
                self._wanted = "back"
                for each in self._workers:  # one on trial would bring the failed network back
                    each.hot_swap.refuse(f"the network that it was compared with {why}")
        if not all(
            worker.supervisor.is_ready for worker in self._workers
        ):  # one that is being replaced would have to wait
            return ""
        proved = all(worker.hot_swap.is_proved for worker in self._workers)
        if self._wanted == "forward" and not (proved and self._are_alike()):
            return ""
        return self._wanted

    def _are_alike(self) -> bool:
        """Return whether all workers have loaded the same; where not, give the candidate up in each of them."""
        loaded = [worker.hot_swap.loaded for worker in self._workers]
        if not all(loaded):  # a candidate has just gone
            return False
        if len(set(loaded)) == 1:
            return True
        self._wanted = ""
        differing = next(one for one in zip(*loaded, strict=True) if len(set(one)) > 1)
        files = " and ".join(sorted({f"{one.name} {one.sha256[:12]}" for one in differing}))
        for worker in self._workers:
            worker.hot_swap.refuse(f"a file changed while the workers loaded it ({files}): order the swap again")
        return False

    def _change(self, change: _Change) -> bool:
        """Let all workers change; return whether they did: one that is busy puts it off until the next volume."""
        with contextlib.ExitStack() as held:
            if not all(held.enter_context(worker.if_idle()) for worker in self._workers):
                return False
            self._wanted = ""
            self._changes(change == "forward")
            for worker in self._workers:
                worker.supervisor.change(forward=change == "forward")
        return True
