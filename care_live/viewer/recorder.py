"""A recorder: everything that a daemon publishes, into a run of its own on another disk, without gaps.

What it writes goes through the same store, so that a finished recording has the same arrays, byte for byte, as the
daemon's run. What was published before it came, or while the daemon was away, it asks for by key.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import ModelIdentity, NotRestored, Plan, RunEnded, RunStarted, StateChanged, VolumeKey
from care_live.publish.describe import plan_of
from care_live.publish.seen import LiveVolume, Told
from care_live.publish.subscriber import Subscriber
from care_live.store import RunReader, RunWriter, open_run
from care_live.viewer.described import read_card
from care_live.wire.messages import Change, End, Gap, Skipped, Start

logger = logging.getLogger(__name__)

MAX_ASKED = 4
"""Volumes asked for by key at the same time."""
MAX_WAITING = 8
"""Restored volumes that wait for other raw channels; the oldest is given up for a ninth."""
ASK_AGAIN_S = 5.0
TOO_EARLY_S = 1.0
"""A volume that is skipped is published at once and stored soon after."""
AWAY_S = 4.0
"""Heartbeats come every second; without any for so long the daemon is away."""
LAST_ASK_S = 10.0
"""How long to wait, after the run's end, for volumes that were asked for by key."""


@dataclass(slots=True)
class Recording:
    """What was recorded so far."""

    run_id: str = ""
    path: Path | None = None
    n_raw: int = 0
    n_restored: int = 0
    gaps: list[str] = field(default_factory=list)
    """What will not come, and why."""
    ended: str = ""
    """Why the run ended; empty while it goes on."""


class Recorder:
    """Writes one run; owned by one thread.

    Parameters
    ----------
    subscriber
        In mode *every*, all products, not quantised.
    config
        Where to write: ``directory/RUN_ID``; resumed when it is there already.
    """

    def __init__(self, subscriber: Subscriber, config: StoreConfig) -> None:
        self._subscriber, self._config = subscriber, config
        self._writer: RunWriter | None = None
        self._plan = Plan({}, (1, 1))
        self._n_channels_in = 1
        self._session = ""
        self._raw: set[VolumeKey] = set()
        self._restored: set[VolumeKey] = set()
        self._waiting: dict[VolumeKey, LiveVolume] = {}
        """Restored, and not all raw channels are here that the network read."""
        self._wanted: deque[VolumeKey] = deque()
        self._asked: dict[VolumeKey, float] = {}
        self._too_early: dict[VolumeKey, float] = {}
        """Asked for before the daemon had stored them, and when it said so; asked for again soon."""
        self._began_s, self._ended_s = time.monotonic(), 0.0
        self._is_away = False
        self.recording = Recording()

    def record(self, stopping: Callable[[], bool], told: Callable[[Recording], None] = lambda _: None) -> Recording:
        """Record until the run has ended or `stopping` says so; `told` is called after every message.

        Raises
        ------
        StoreError
            The disk is full or broken, or the folder belongs to another run.
        ProtocolError
            The daemon does not allow it.
        """
        try:
            while not stopping() and not self._is_over():
                self._ask()
                message = self._subscriber.next(0.5)
                self._say_silence()
                if message is not None:
                    self._take(message)
                    told(self.recording)
            return self.recording
        finally:
            if self._writer is not None:
                self._writer.close()

    def _say_silence(self) -> None:
        """Tell once when the daemon is away, and once when it is back."""
        away = self._subscriber.silent_s > AWAY_S and time.monotonic() - self._began_s > AWAY_S
        if away != self._is_away:
            logger.warning("daemon %s address=%s", "away, waiting" if away else "back", self._subscriber.address)
        self._is_away = away

    def _take(self, message: Told) -> None:
        match message:
            case Start():
                self._begin(message)
            case LiveVolume():
                self._keep(message)
            case Change():
                self._note(StateChanged(VolumeKey(*message.key), message.state, message.detail))
            case Skipped():
                self._note(NotRestored(VolumeKey(*message.key), message.reason, message.detail))
                self._want(VolumeKey(*message.key))
            case Gap():
                self._miss(message)
            case End():
                self._end(message)

    # -- the run --------------------------------------------------------------------------------------------

    def _begin(self, start: Start) -> None:
        if self._writer is None:
            self._open(start)
        elif start.run != self.recording.run_id:
            raise StoreError(f"the daemon is at run {start.run} now: record it by a new command")
        card = read_card(start.card)
        self._n_channels_in = len(card.channels_in) if card else 1
        if self._writer is not None and start.model is not None and start.card:
            self._writer.describe_model(ModelIdentity(start.model.name, start.model.sha256), start.card)
        self.recording.ended = ""

    def _open(self, start: Start) -> None:
        self._plan = plan_of(start.plan)
        started = RunStarted(start.run or "", self._plan, start.summary)
        self._writer = open_run(self._config, started)
        self._raw = set(self._writer.raw_keys())
        self._restored = set(RunReader(self._writer.path).keys("restored"))
        self.recording.run_id, self.recording.path = started.run_id, self._writer.path
        self._count()
        logger.info("recording run=%s to=%s raw=%d", started.run_id, self._writer.path, len(self._raw))

    def _end(self, end: End) -> None:
        earlier = self._planned(before=max((key.t for key in self._raw), default=-1) + 1)
        for key in sorted({*earlier, *self._too_early.keys() - self._raw}):
            self._want(key)
        self.recording.ended = end.reason
        self._ended_s = time.monotonic()
        self._note(RunEnded(end.reason, end.detail, end.n_delivered, end.n_refused))

    def _is_over(self) -> bool:
        if not self.recording.ended:
            return False
        waiting = [*self._asked, *self._wanted]
        if (waiting or self._waiting) and time.monotonic() - self._ended_s < LAST_ASK_S:
            return False
        self.recording.gaps += [f"volume {tuple(key)}: asked for, the daemon left before it came" for key in waiting]
        for key in list(self._waiting):
            self._give_up(key)
        return True

    # -- volumes --------------------------------------------------------------------------------------------

    def _keep(self, volume: LiveVolume) -> None:
        if self._writer is None:
            return  # fetched for a run whose start is still to come: it will be asked for again
        if volume.said.session != self._session:
            self._session = volume.said.session
            for key in self._planned(before=volume.key.t):
                self._want(key)
        raw = volume.volume()
        if raw.key not in self._raw:
            self._writer.write_raw(raw)
            self._raw.add(raw.key)
        if volume.model is not None and volume.key not in self._restored:
            self._waiting[volume.key] = volume
        self._write_restored(self._writer)
        self._asked.pop(volume.key, None)
        self._count()

    def _write_restored(self, writer: RunWriter) -> None:
        """Write restored volumes as soon as all raw ones are here that the network read together."""
        for key, volume in list(self._waiting.items()):
            if self._raw.issuperset(sources := self._sources(key._replace(c=volume.said.c_in))):
                writer.write_restored(volume.restored(), sources=sources)
                self._restored.add(key)
                del self._waiting[key]
        while len(self._waiting) > MAX_WAITING:
            self._give_up(next(iter(self._waiting)))

    def _give_up(self, restored: VolumeKey) -> None:
        del self._waiting[restored]
        self.recording.gaps.append(
            f"restored volume {tuple(restored)}: the other channels that it was made of are missing"
        )

    def _sources(self, raw: VolumeKey) -> tuple[VolumeKey, ...]:
        """Return the raw volumes that the network read together."""
        n = self._n_channels_in
        return tuple(raw._replace(c=c) for c in range(n)) if n > 1 else (raw,)

    def _note(self, event: StateChanged | NotRestored | RunEnded) -> None:
        if self._writer is not None:
            self._writer.note(event)

    def _count(self) -> None:
        self.recording.n_raw, self.recording.n_restored = len(self._raw), len(self._restored)

    # -- what is missing ------------------------------------------------------------------------------------

    def _planned(self, *, before: int) -> Iterator[VolumeKey]:
        """Give the planned volumes of earlier time points that are not here."""
        times = range(before)
        for planned in self._plan.stacks:
            keys = (
                [planned._replace(t=t) for t in times]
                if self._plan.endless
                else [planned]
                if planned.t < before
                else []
            )
            yield from (key for key in keys if key not in self._raw)

    def _want(self, key: VolumeKey) -> None:
        if key not in self._asked and key not in self._wanted:
            self._wanted.append(key)

    def _ask(self) -> None:
        now_s = time.monotonic()
        for key in [key for key, asked_s in self._asked.items() if now_s - asked_s > ASK_AGAIN_S]:
            self._fetch(key, now_s)
        for key in [key for key, told_s in self._too_early.items() if now_s - told_s > TOO_EARLY_S]:
            del self._too_early[key]
            if key not in self._raw:
                self._want(key)
        while self._wanted and len(self._asked) < MAX_ASKED:
            self._fetch(self._wanted.popleft(), now_s)

    def _fetch(self, key: VolumeKey, now_s: float) -> None:
        self._asked[key] = now_s
        self._subscriber.fetch(key)

    def _miss(self, gap: Gap) -> None:
        key = VolumeKey(*gap.key) if gap.key else None
        if key is not None:
            self._asked.pop(key, None)
            if key in self._raw:
                return
            if gap.reason == "not-stored" and not self.recording.ended:
                self._too_early[key] = time.monotonic()
                return
        if gap.reason == "other-session":
            return  # a new daemon: the subscriber asks it from its beginning, and the rest comes by key
        numbers = f"numbers {gap.first}-{gap.last}" if gap.first is not None else f"volume {gap.key}"
        self.recording.gaps.append(f"{numbers}: {gap.reason}, {gap.detail}")
        logger.warning("recording gap %s reason=%s detail=%s", numbers, gap.reason, gap.detail)
