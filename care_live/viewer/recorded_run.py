"""The run that a recorder writes: raw volumes wait for the disk, restored ones are left out while it is full."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from msgspec import UNSET
from msgspec.structs import replace

from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import (
    NetworkInUse,
    NotRestored,
    Plan,
    RunEnded,
    RunStarted,
    State,
    StateChanged,
    Volume,
    VolumeKey,
)
from care_live.live_frame import LIVE_RUN
from care_live.publish.delivery import Delivery, FromDaemon
from care_live.recorded.run_records import RestoredStored
from care_live.store import RunReader, open_run
from care_live.viewer.view_records import read_card

logger = logging.getLogger(__name__)

MAX_WAITING = 8
"""Restored volumes that wait for other raw channels; a ninth one drops the oldest."""
RETRY_S = 0.5
"""How often a disk that refuses is tried again."""
LAST_MADE = 64
"""Restored volumes that a daemon may have published and, being killed, not stored."""
ALONE = "the other channels that it was made of are missing"


@dataclass(frozen=True, slots=True)
class _Made:
    """What differs between two restorations of one volume."""

    sha256: str
    low: float
    high: float
    infer_us: int

    def is_alike(self, other: _Made) -> bool:
        same_network = (self.sha256, self.low, self.high) == (other.sha256, other.low, other.high)
        return same_network and abs(self.infer_us - other.infer_us) <= 1  # seconds in a file, microseconds on the wire


def _made(volume: Delivery) -> _Made:
    header = volume.header
    return _Made(volume.model.sha256 if volume.model else "", header.low or 0.0, header.high or 0.0, header.infer_us)


def _made_before(stored: RestoredStored) -> _Made:
    return _Made(stored.model.sha256, stored.low, stored.high, int(stored.infer_s * 1e6))


def is_live(message: FromDaemon) -> bool:
    """Return whether a message is of Live, outside any run: that is not recorded."""
    return (message.run_id if isinstance(message, Delivery) else message.run) == LIVE_RUN


@dataclass(slots=True)
class Lacking:
    """What a run still needs after a volume was written."""

    restored: dict[VolumeKey, str] = field(default_factory=dict)
    """Restored volumes that could not be kept, and why; they are requested again later."""
    raw: set[VolumeKey] = field(default_factory=set)
    """Raw volumes that restored ones wait for."""


@dataclass(slots=True)
class RecordingReport:
    """What was recorded so far."""

    run_id: str = ""
    path: Path | None = None
    n_raw: int = 0
    n_restored: int = 0
    gaps: list[str] = field(default_factory=list)
    """What did not come, or could not be taken, and why."""
    ended: str = ""
    """Why the run ended; empty while it goes on."""
    session: str = ""
    """Of the daemon in which it ended."""


class RecordedRun:
    """One run on the recorder's disk; owned by one thread.

    Parameters
    ----------
    config : where to write, and how long a disk that takes no raw volume is waited for (``full_wait_s``)
    started : as the publisher announced it
    stopping : ends every wait

    Raises
    ------
    StoreError
        The folder belongs to another run, or another writer is at work in it.
    """

    def __init__(self, config: StoreConfig, started: RunStarted, stopping: threading.Event) -> None:
        self._config, self._stopping = config, stopping
        self._writer = open_run(config, started, resume=True)  # missing volumes can still be requested
        reader = RunReader(self._writer.path)
        self.path: Path = self._writer.path
        self.plan: Plan = reader.plan
        """As the first announcement of this run had it."""
        self.raw: set[VolumeKey] = set(self._writer.raw_keys())
        self.restored: set[VolumeKey] = set(reader.keys("restored"))
        self._made = {key: _made_before(reader.restoration(key)) for key in self.restored}
        self._states: dict[VolumeKey, State] = {key: reader.state(key) for key in self.raw}
        self.is_full = False
        """Restored volumes are left out."""
        self._n_channels_in = 1
        self._waiting: dict[VolumeKey, Delivery] = {}

    def describe_networks(self, networks: Iterable[NetworkInUse]) -> None:
        """Write down the networks that restore from here on; one without a card is not described."""
        for network in networks:
            if network.card:
                read = read_card(network.card)
                self._n_channels_in = len(read.channels_in) if read else 1
                self._patiently(partial(self._writer.describe_network, network))

    def note(self, event: StateChanged | NotRestored | RunEnded) -> None:
        """Write down what became of volumes, or of the run."""
        self._patiently(lambda: self._writer.note(event))
        if isinstance(event, StateChanged) and event.key in self.raw:
            self._states[event.key] = event.state

    def correct(self, volume: Delivery) -> None:
        """Take over the publisher's state of a volume: to open a run again makes provisional volumes suspect."""
        key = volume.key._replace(c=volume.header.c_in)
        if key in self.raw and self._states.get(key) != volume.state:
            self.note(StateChanged(key, volume.state, "as the publisher reports"))

    def doubtful(self) -> set[VolumeKey]:
        """Return volumes that another session may have restored, restored anew, or confirmed, unseen."""
        unsettled = {key for key, state in self._states.items() if state != "confirmed"}
        return (self.raw - self.restored) | unsettled | set(list(self._made)[-LAST_MADE:])

    def is_outdated(self, volume: Delivery) -> bool:
        """Return whether a volume was restored anew: a daemon that is killed may not have stored what it published."""
        made = self._made.get(volume.key)
        return made is not None and volume.model is not None and not made.is_alike(_made(volume))

    def keep(self, volume: Delivery) -> Lacking:
        """Write a volume: its raw one at once, its restored one when all raw ones are here that it was made of.

        Raises
        ------
        StoreError
            The disk took no raw volume within ``full_wait_s``.
        """
        assert volume.volume is not None
        self._keep_raw(volume.volume)
        self.correct(volume)
        if volume.model is not None and (volume.key not in self.restored or self.is_outdated(volume)):
            self._waiting[volume.key] = volume
        return self._write_restored()

    def has_space(self) -> bool:
        """Return whether restored volumes can be taken; after `is_full` the free space is measured again."""
        if self.is_full and self._writer.disk().space == "enough":
            logger.warning("the disk has space for restored volumes again: those left out are requested")
            self.is_full = False
        return not self.is_full

    @property
    def waiting(self) -> tuple[VolumeKey, ...]:
        """Restored volumes that wait for other raw channels."""
        return tuple(self._waiting)

    def close(self) -> None:
        """Release the run; another recorder may go on."""
        self._writer.close()

    def _keep_raw(self, raw: Volume) -> None:
        if raw.key not in self.raw:
            self._patiently(lambda: self._writer.write_raw(raw))
            self.raw.add(raw.key)
            self._states[raw.key] = raw.state

    def _write_restored(self) -> Lacking:
        lacking = Lacking()
        for key, volume in list(self._waiting.items()):
            sources = self._sources(volume)
            if missing := set(sources) - self.raw:
                lacking.raw |= missing
                continue
            del self._waiting[key]
            if why := self._refusal(volume, sources):
                lacking.restored[key] = why
        while len(self._waiting) > MAX_WAITING:
            lacking.restored[oldest := next(iter(self._waiting))] = ALONE
            del self._waiting[oldest]
        return lacking

    def _refusal(self, volume: Delivery, sources: tuple[VolumeKey, ...]) -> str:
        """Write a restored volume; return why the disk does not take it, or nothing."""
        try:
            assert volume.restored is not None
            self._writer.write_restored(replace(volume.restored, sources=sources))
        except StoreError as error:
            if not self.is_full:
                logger.warning("restored volumes are left out until the disk takes them: %s", error)
            self.is_full = True
            return str(error)
        self.restored.add(volume.key)
        self._made.pop(volume.key, None)
        self._made[volume.key] = _made(volume)
        return ""

    def _sources(self, volume: Delivery) -> tuple[VolumeKey, ...]:
        """Return the raw volumes that the network read together; older daemons leave that to the card."""
        if volume.header.sources is not UNSET:
            return tuple(VolumeKey(*key) for key in volume.header.sources)
        raw, n = volume.key._replace(c=volume.header.c_in), self._n_channels_in
        return tuple(raw._replace(c=c) for c in range(n)) if n > 1 else (raw,)

    def _patiently(self, write: Callable[[], None]) -> None:
        """Write what must not be lost; while the disk refuses, log that once and wait."""
        until, waits = time.monotonic() + self._config.full_wait_s, False
        while (error := _tried(write)) is not None:
            if not waits:
                logger.error("the recording waits for the disk, at most %.0f s: %s", self._config.full_wait_s, error)
            waits = True
            if time.monotonic() > until or self._stopping.wait(RETRY_S):
                raise error
        if waits:
            logger.warning("the recording goes on: the disk takes volumes again")


def _tried(write: Callable[[], None]) -> StoreError | None:
    try:
        write()
    except StoreError as error:
        return error
    return None
