"""A recorder: everything that a daemon publishes, into a run of its own on another disk, without gaps.

What it writes goes through the same store, so that a finished recording has the same arrays, byte for byte, as the
daemon's run. Volumes that were published before it started, or while the link was lost, it requests by key until they
have come. A volume that has not come in the end is a gap, with its reason.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import NotRestored, Plan, RunEnded, RunStarted, StateChanged, VolumeKey
from care_live.publish.delivery import Delivery, FromDaemon
from care_live.publish.describe import networks_of
from care_live.publish.subscriber import AWAY_S, Subscriber
from care_live.viewer.admission import ExpectedShapes, merged
from care_live.viewer.announced import AnnouncedVolumes, newest_of
from care_live.viewer.outstanding import Outstanding
from care_live.viewer.recorded_run import ALONE, RecordedRun, RecordingReport, is_live
from care_live.wire.messages import ONE_VOXEL, Change, End, Gap, Skipped, Start
from care_live.wire.plans import plan_of

logger = logging.getLogger(__name__)

LAST_ASK_S = 10.0
"""How long to wait, after the run's end and the last volume, for volumes that were requested by key."""
_DID_NOT_COME = "it was requested and did not come"


class Recorder:
    """Writes one run; owned by one thread.

    Parameters
    ----------
    subscriber
        In mode *every*, all products, not quantised.
    config
        Where to write: ``directory/RUN_ID``; resumed when it is there already. ``full_wait_s`` is how long a disk
        that takes no raw volume is waited for.
    start
        Of the run, where it has come; None: the first one that comes.
    """

    def __init__(self, subscriber: Subscriber, config: StoreConfig, start: Start | None = None) -> None:
        self._subscriber, self._config, self._first = subscriber, config, start
        self.next_start: Start | None = None
        """Of the run that has begun behind this one."""
        self._run: RecordedRun | None = None
        self._admission = ExpectedShapes.of("", Plan({}, (1, 1)))
        self._announced = AnnouncedVolumes(self._admission.plan, 1, 1)
        self._session, self._requested_of = "", ""
        """Of the last volume that was kept, and of the last message."""
        self._promised: dict[VolumeKey, str] = {}
        """Restored volumes that were published and are not here, and why."""
        self._uncertain: set[VolumeKey] = set()
        """Volumes of an earlier session: they may have been restored, restored anew or confirmed unseen."""
        self._outstanding = Outstanding()
        self._began_s, self._came_s = time.monotonic(), 0.0
        self._is_away, self._stopping = False, threading.Event()
        self.recording = RecordingReport()

    def record(
        self, stopping: threading.Event, on_message: Callable[[RecordingReport], None] = lambda _: None
    ) -> RecordingReport:
        """Record until the run has ended or `stopping` is set; `on_message` is called after every message.

        Raises
        ------
        StoreError
            The disk is broken, or was full for too long, or the folder belongs to another run.
        ProtocolError
            The daemon does not allow it.
        """
        self._stopping = stopping
        try:
            if self._first is not None:
                self._take(self._first)
            while not stopping.is_set() and not self._is_over():
                self._ask()
                message = self._subscriber.next(0.5)
                self._say_silence()
                if message is not None and not is_live(message):
                    self._take(message)
                    on_message(self.recording)
            self._close_books()
            return self.recording
        finally:
            if self._run is not None:
                self._run.close()

    def _say_silence(self) -> None:
        """Log once when the link is lost, and once when it is back."""
        away = self._subscriber.silent_s > AWAY_S and time.monotonic() - self._began_s > AWAY_S
        if away != self._is_away:
            logger.warning("daemon %s address=%s", "away, waiting" if away else "back", self._subscriber.address)
        self._is_away = away

    def _take(self, message: FromDaemon) -> None:
        session = message.header.session if isinstance(message, Delivery) else message.session
        if session != self._requested_of:  # another daemon, which did not get the requests to the one before
            self._requested_of = session
            self._outstanding.ask_anew()
        if isinstance(message, Start):
            self._begin(message)
        elif self._run is not None:  # else: of a run whose start is still to come; it will be requested again
            self._follow(self._run, message)

    def _follow(self, run: RecordedRun, message: FromDaemon) -> None:
        match message:
            case Delivery():
                self._receive(run, message)
            case Change():
                run.note(StateChanged(VolumeKey(*message.key), message.state, message.detail))
            case Skipped():
                run.note(NotRestored(key := VolumeKey(*message.key), message.reason, message.detail))
                self._announced.named.add(key)
                self._want({key} - run.raw)
            case Gap():
                self._miss(run, message)
            case End():
                self._end(run, message)

    # -- the run --------------------------------------------------------------------------------------------

    def _begin(self, start: Start) -> None:
        if not start.run:
            raise StoreError("the daemon announces a run without a name: it cannot be recorded")
        if self._run is None:
            self._run = self._open(RunStarted(start.run, plan_of(start.plan), start.summary))
        elif start.run != self.recording.run_id:
            self.next_start = start
            return
        self._learn_plan(start.run, merged(self._admission.plan, plan_of(start.plan)))
        self._run.describe_networks(networks_of(start))
        self.recording.ended = ""

    def _open(self, started: RunStarted) -> RecordedRun:
        run = RecordedRun(self._config, started, self._stopping)
        self._learn_plan(started.run_id, run.plan)
        self.recording.run_id, self.recording.path = started.run_id, run.path
        self._count(run)
        logger.info("recording run=%s to=%s raw=%d", started.run_id, run.path, len(run.raw))
        return run

    def _learn_plan(self, run_id: str, plan: Plan) -> None:
        named = self._announced.named
        self._admission = ExpectedShapes.of(run_id, plan)
        self._announced = AnnouncedVolumes(plan, self._admission.n_positions, self._admission.n_channels)
        self._announced.named = named

    def _end(self, run: RecordedRun, end: End) -> None:
        before = max(newest_of(run.raw).values(), default=-1) + 1
        self._want(self._announced.earlier(max(before, self._announced.begin), run.raw))
        self._want(self._announced.following(run.raw))
        self._outstanding.hurry(self._may_ask)
        self.recording.ended, self.recording.session = end.reason, end.session
        self._came_s = time.monotonic()
        run.note(RunEnded(end.reason, end.detail, end.n_delivered, end.n_refused))

    def _is_over(self) -> bool:
        if self.next_start is not None or not self.recording.ended:
            return self.next_start is not None
        return not len(self._outstanding) or time.monotonic() - self._came_s > LAST_ASK_S

    def _close_books(self) -> None:
        """Name everything that was published, or planned, and is not here."""
        if self._run is None:
            return
        promised = dict.fromkeys(self._run.waiting, ALONE) | self._promised
        for key, why in sorted(promised.items()):
            if key not in self._run.restored:
                self._gap(f"restored volume {tuple(key)}", why)
        unanswered = set(self._outstanding) - self._promised.keys()
        newest = newest_of(self._run.raw)
        due = {key for key in unanswered - self._run.raw if self._announced.is_due(key, newest)}
        for key in sorted(due):
            self._gap(f"volume {tuple(key)}", self._outstanding.why(key) or _DID_NOT_COME)
        if self.recording.ended and unanswered - due:
            self._gap(f"{len(unanswered - due)} volumes", "the daemon may have them, but did not answer")

    def _receive(self, run: RecordedRun, volume: Delivery) -> None:
        self._outstanding.note_arrivals(time.monotonic())
        if not volume.run_id:  # a new daemon, which has not begun its run
            self._outstanding.postpone(volume.key, _DID_NOT_COME, time.monotonic())
        elif volume.raw is None and volume.key in self._uncertain:
            self._learn(run, volume)
        elif wrong := self._admission.misfit(volume):
            self._outstanding.has_come(volume.key)
            self._gap(f"volume {tuple(volume.key)}", wrong)
        else:
            self._enter(run, volume)
            self._keep(run, volume)
            self._count(run)

    def _enter(self, run: RecordedRun, volume: Delivery) -> None:
        """In a new session, request what an older one published: its log is lost, the store may have the volumes."""
        if volume.header.session == self._session:
            return
        self._session = volume.header.session
        self._want(self._announced.earlier(volume.key.t, run.raw))
        self._look_again(run)

    def _look_again(self, run: RecordedRun) -> None:
        """Request volumes whose later fate this recorder has missed."""
        self._uncertain = run.doubtful()
        self._want(self._uncertain)

    def _learn(self, run: RecordedRun, volume: Delivery) -> None:
        """Take an answer to such a request."""
        run.correct(volume)
        self._came_s = time.monotonic()
        self._uncertain.discard(volume.key)
        self._outstanding.has_come(volume.key)
        if run.is_outdated(volume):
            run.restored.discard(volume.key)
        if volume.key not in run.restored and (volume.model is not None or volume.header.was_restored is True):
            self._promised[volume.key] = _DID_NOT_COME
            self._outstanding.want(volume.key)

    def _keep(self, run: RecordedRun, volume: Delivery) -> None:
        self._outstanding.has_come(key := volume.key)
        self._promised.pop(key, None)
        if volume.model is not None:
            self._promised[key] = ALONE
        lacking = run.keep(volume)
        if volume.header.was_restored is True and key not in run.restored:
            lacking.restored[key] = "the daemon's store has only its raw one"
        for one, why in lacking.restored.items():
            self._promised[one] = why
            self._postpone(one, why)
        self._want(lacking.raw)
        following = self._announced.after(key._replace(c=volume.header.c_in)) if self.recording.ended else None
        if following is not None and following not in run.raw:
            self._want({following})

    def _count(self, run: RecordedRun) -> None:
        n_before = self.recording.n_raw + self.recording.n_restored
        self.recording.n_raw, self.recording.n_restored = len(run.raw), len(run.restored)
        if self.recording.n_raw + self.recording.n_restored > n_before:
            self._came_s = time.monotonic()

    # -- what is missing ------------------------------------------------------------------------------------

    def _want(self, keys: Iterable[VolumeKey]) -> None:
        for key in sorted(set(keys)):
            self._outstanding.want(key)

    def _may_ask(self, key: VolumeKey) -> bool:
        """Return whether the disk takes a volume: a full one takes only raw ones."""
        return self._run is not None and (key not in self._run.raw or self._run.has_space())

    def _ask(self) -> None:
        for key in self._outstanding.due(time.monotonic(), self._may_ask):
            is_probe = key in self._uncertain and key not in self._promised
            self._subscriber.fetch(key, ONE_VOXEL if is_probe else None)

    def _postpone(self, key: VolumeKey, why: str) -> None:
        """Request again later, unless the run has ended: then the daemon will never have it."""
        if self.recording.ended and self._may_ask(key):
            self._outstanding.has_come(key)
        else:
            self._outstanding.postpone(key, why, time.monotonic())

    def _miss(self, run: RecordedRun, gap: Gap) -> None:
        if gap.reason == "other-session":
            return  # a new daemon: the subscriber starts at its beginning, and the rest comes by key
        why = f"{gap.reason}, {gap.detail}"
        if gap.key is None:
            self._look_again(run)
            if gap.reason == "forgotten":  # by numbers only: at the next volume all earlier ones are requested by key
                self._session = ""
            else:
                self._gap(f"numbers {gap.first}-{gap.last}", why)
            return
        key = VolumeKey(*gap.key)
        if key in run.restored or (key in self._uncertain and key in run.raw and gap.first is None):
            self._uncertain.discard(key)
            self._outstanding.has_come(key)
            return
        if gap.first is not None or key in self._promised:  # of a number: it was published
            self._promised[key] = why
        elif self.recording.ended and key not in run.raw and self._announced.is_due(key, newest_of(run.raw)):
            self._gap(f"volume {tuple(key)}", why)
        self._postpone(key, why)

    def _gap(self, what: str, why: str) -> None:
        if (gap := f"{what}: {why}") in self.recording.gaps:
            return  # requested twice, answered twice
        self.recording.gaps.append(gap)
        logger.warning("recording gap %s why=%s", what, why)
