"""The networks of one process: opened together, run one at a time, within one budget of memory.

A network keeps memory between its volumes: sessions, and what their arenas have taken. Of several networks the sum is
bounded. Before one runs, those that were not used for longest give theirs back until there is memory for it; what they
need is made again with their next volume, which comes later for that (0.1 to 0.5 s for the shipped network on one
core).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from care_live.backends import cuda
from care_live.backends.host_memory import available_bytes, own_bytes
from care_live.config import RestoreConfig
from care_live.errors import CareLiveError
from care_live.model import file
from care_live.reasons import Choice, whole
from care_live.restore.engine import Engine
from care_live.restore.select import HOST_SHARE

logger = logging.getLogger(__name__)

_DEVICE_SHARE = 0.8
"""Of a graphics card's memory that is free when the networks are open; what they hold by then comes on top."""
_GROWN = 0.1
"""Of what a network holds: less is no reason to let it give back again."""
_NO_BUDGETS: Mapping[int, int] = {}


class Resting(Protocol):
    """What a budget needs of a network."""

    @property
    def is_streaming(self) -> bool:
        """Whether a volume goes through it while it is recorded."""

    def need_bytes(self, n_px: int) -> int:
        """Return what a volume of this number of voxels takes at most."""

    def rest(self, choice: Choice) -> None:
        """Give back all memory that is only kept for speed."""


class SharedBudget:
    """Follows what each network holds, by how much the process grows while it is used.

    Parameters
    ----------
    networks : in the order of their numbers
    limit_bytes : most that all may hold together
    taken_bytes : gives what the process holds now
    """

    def __init__(self, networks: tuple[Resting, ...], limit_bytes: int, taken_bytes: Callable[[], int]) -> None:
        self._networks, self._taken_bytes = networks, taken_bytes
        self.limit_bytes = limit_bytes
        self.held_bytes = [0] * len(networks)
        """By each network, as measured when another one was used after it."""
        self._most_bytes = [0] * len(networks)
        self._by_use: list[int] = list(range(len(networks)))
        """Numbers, the one that was used last at the end."""
        self._spent: set[int] = set()
        """Those that have given back what they can and have not grown since: they would only become slower."""
        self._seen_bytes = taken_bytes()

    def use(self, number: int, n_px: int) -> None:
        """Note that a network will be used for a volume of n voxels; let others give memory back where it lacks."""
        self.note(number)
        needed = self._most_bytes[number] or self._networks[number].need_bytes(n_px)
        more = max(0, needed - self.held_bytes[number])
        for other in self._by_use[:-1]:
            if sum(self.held_bytes) + more <= self.limit_bytes:
                return
            if self.held_bytes[other] and other not in self._spent and not self._networks[other].is_streaming:
                self._rest(other)

    def note(self, number: int) -> None:
        """Note that a network is at work from here on."""
        self.measure()
        self._by_use.remove(number)
        self._by_use.append(number)

    def free_memory(self) -> None:
        """Let all networks but the one that was used last give back what they hold: its memory has run out."""
        self.measure()
        for other in self._by_use[:-1]:
            self._rest(other)

    def measure(self) -> None:
        """Put down what the process has grown by since the last look to the network that was used last."""
        taken, last = self._taken_bytes(), self._by_use[-1]
        held = max(0, self.held_bytes[last] + taken - self._seen_bytes)
        if taken - self._seen_bytes > held * _GROWN:
            self._spent.discard(last)
        self.held_bytes[last], self._most_bytes[last] = held, max(held, self._most_bytes[last])
        self._seen_bytes = taken

    def _rest(self, number: int) -> None:
        """Let a network give its memory back; what the process has not become smaller by still counts as held."""
        before, held = self._taken_bytes(), self.held_bytes[number]
        self._networks[number].rest(whole("no-memory"))
        self._seen_bytes = self._taken_bytes()
        given_back = min(held, max(0, before - self._seen_bytes))
        self.held_bytes[number] = held - given_back
        self._spent.add(number)
        logger.info(
            "network=%d gave_back=%d MiB of=%d MiB for=%d", number, given_back >> 20, held >> 20, self._by_use[-1]
        )


class NetworkSet:
    """The engines of one process by number, as `RestoreConfig.networks` lists them.

    Parameters
    ----------
    config : of all
    budgets_px : by number: pixels that one run may read, where more than that has failed before
    running : entered around every run of a network
    numbers : take pixels of any type; see `Engine`

    Raises
    ------
    ModelError, ConfigError, RestoreError
        One of the networks must not run, or can't; the message names its channels where there are several.
    """

    def __init__(
        self,
        config: RestoreConfig,
        *,
        budgets_px: Mapping[int, int] = _NO_BUDGETS,
        running: Callable[[], AbstractContextManager[None]] = nullcontext,
        numbers: bool = False,
    ) -> None:
        self._config, self._running, self._numbers = config, running, numbers
        limit_bytes = int(HOST_SHARE * available_bytes())
        self.engines = tuple(self._open(number, budgets_px.get(number)) for number in range(len(config.networks)))
        device = cuda.memory() if self.on_gpu else None
        if device is not None:
            limit_bytes = int(_DEVICE_SHARE * device.free_bytes)
        self.budget = SharedBudget(self.engines, limit_bytes, own_bytes if device is None else _taken_on_device)
        logger.info("networks=%d memory_limit=%d MiB", len(self.engines), limit_bytes >> 20)

    @property
    def on_gpu(self) -> bool:
        """Whether any network runs on a graphics card."""
        return any(engine.provider in {"cuda", "tensorrt"} for engine in self.engines)

    def use(self, number: int, n_px: int) -> Engine:
        """Return a network to restore a volume of n voxels with; others give memory back where it lacks."""
        if len(self.engines) > 1:
            self.budget.use(number, n_px)
        return self.engines[number]

    def go_on(self, number: int) -> Engine:
        """Return a network that goes on with a volume for which there was memory."""
        if len(self.engines) > 1:
            self.budget.note(number)
        return self.engines[number]

    @property
    def held_bytes(self) -> tuple[int, ...]:
        """By each of several networks now; empty where there is one."""
        if len(self.engines) == 1:
            return ()
        self.budget.measure()
        return tuple(self.budget.held_bytes)

    def _open(self, number: int, budget_px: int | None) -> Engine:
        model, channels, provider = self._config.networks[number]
        try:
            return Engine(
                file.located(model),
                self._config.model_copy(update={"provider": provider}),
                budget_px=budget_px,
                running=self._running,
                numbers=self._numbers,
                free_memory=self._free_memory,
            )
        except CareLiveError as error:
            if len(self._config.networks) == 1:
                raise
            raise type(error)(f"network of channel {', '.join(channels)}: {error}") from error

    def _free_memory(self) -> None:
        self.budget.free_memory()


def _taken_on_device() -> int:
    device = cuda.memory()
    return 0 if device is None else device.taken_bytes
