"""The daemon: start → run → drain → stop, each with a deadline, whatever fails.

First Ctrl-C (or SIGTERM) drains: the acquisition is aborted, volumes on their way are restored and stored.
The second stops: raw volumes that have arrived are still written, nothing else is waited for.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from care_live.config import SHOW_LIVE, Config
from care_live.daemon import channel_networks, orders
from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.deadline import Deadlines
from care_live.daemon.ending import end_stages
from care_live.daemon.health import Health
from care_live.daemon.heartbeat import heartbeat_of
from care_live.daemon.live_restoring import restoring
from care_live.daemon.live_show import LiveShow
from care_live.daemon.live_wiring import live_show
from care_live.daemon.pipeline import Pipeline, Rooms
from care_live.daemon.planned_channels import refuse_channels_of_recording, refuse_unknown_channels
from care_live.daemon.readback import Stored
from care_live.daemon.resume import last_spans, open_remaining
from care_live.daemon.run_after_run import claim_begun
from care_live.daemon.run_end import OPENING, RunEnd
from care_live.daemon.run_metrics import DaemonStatus, Phase, Tally
from care_live.daemon.service_notice import tell_service
from care_live.daemon.shortfall import shortfalls
from care_live.daemon.worker_group import WorkerGroup
from care_live.errors import SourceError
from care_live.images import MISSED, RunEnded, RunStarted
from care_live.publish.publisher import Publisher
from care_live.source import RunAfterRun, Source
from care_live.store import Claim, RunWriter, claim_run, import_zarr, open_run, refuse_unfit

logger = logging.getLogger(__name__)

_OPEN_S = 120.0
"""How long a slow disk may take to open a run."""
_STOP_S = 10.0
"""How long a room may take to do what ends it."""
_HEARTBEAT_S = 0.5
_SETTLE_S = 2.0
"""How long recorders of a run may request nothing before the next one may begin."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """What is opened once, whatever the number of runs."""

    source: Source
    publisher: Publisher
    stored: Stored
    """Where the publisher finds volumes that have left its memory."""
    claim: Claim | None
    """On the only run; None: the source names its runs."""
    live: LiveShow | None
    """Shown while no run goes on; None: the source has one run and no Live."""


class Daemon:
    """One run, from the first frame to the last restored volume; of a source that shows Live, run after run.

    Parameters
    ----------
    config : of all rooms
    run_id : a run that was interrupted goes on, one that has finished only where ``resume`` is set
    """

    def __init__(self, config: Config, run_id: str) -> None:
        self._config = config
        self.run_id = run_id
        self._tally = Tally()
        self._standing: _Standing | None = None
        self._pipeline: Pipeline | None = None
        self._deadlines = Deadlines()
        self._end = RunEnd(self._deadlines, self._tally)
        self._restorer = WorkerGroup(restoring(config))
        self._publishing = Bulkhead("publishing", "the run goes on unpublished", self._tally)
        self._restoring = Bulkhead("restoring", "the run goes on with raw volumes", self._tally)

    def status(self) -> DaemonStatus:
        """Return the newest figures."""
        if self._pipeline is not None:
            self._pipeline.refresh()
        return self._tally.status()

    def ready(self) -> bool:
        """Whether a volume that arrives now would be restored."""
        return self._restorer.is_running

    @property
    def inference_process_ids(self) -> tuple[int, ...]:
        return self._restorer.process_ids

    def swap(self, order: Mapping[str, Any]) -> str:
        """Try another network on the next volume; see `care_live.daemon.orders.swap`."""
        return orders.swap(self._restorer, order, self._interval_s)

    def _interval_s(self) -> float | None:
        """Return the time from one time point to the next, of any position: planned, or as seen of late."""
        return None if self._pipeline is None else self._pipeline.interval_s

    def drain(self) -> None:
        """Abort the acquisition and finish the volumes that have come; a second call stops at once."""
        self._end.order()

    def run(self, on_start: Callable[[RunStarted], None] | None = None) -> DaemonStatus:
        """Run to the end and return the last status.

        Parameters
        ----------
        on_start : callable
            Called with the first event, when the acquisition begins.

        Raises
        ------
        CareLiveError
            The reason why the run ended too early; all that could be stored is stored.
        """
        with contextlib.ExitStack() as closing:
            standing = self._standing = self._open(closing)
            if standing.live is not None and on_start is not None:
                on_start(standing.live.started)  # a page that waited for a run would show no Live
            while (started := self._first_event(standing)) is not None:
                pipeline = self._record(standing, started, on_start)
                if standing.live is None or self._end.drains:
                    break
                standing.publisher.drain(_SETTLE_S)  # recorders get the rest: the next run forgets this one
                if isinstance(standing.source, RunAfterRun):
                    standing.source.next_run()
        if error := self._end.reason(None if standing.live is not None else pipeline.ended):
            if standing.live is None:
                self._phase("failed")
            raise error
        self._phase("finished")
        return self.status()

    def _record(
        self, standing: _Standing, started: RunStarted, on_start: Callable[[RunStarted], None] | None
    ) -> Pipeline:
        """Record one run."""
        with contextlib.ExitStack() as closing:
            rooms, started = self._begin(standing, started, closing)
            if on_start is not None and standing.live is None:
                on_start(started)
            pipeline = self._pipeline = Pipeline(self._config, rooms, self._tally, started, on_failure=self._end.fail)
            self._end.pipeline = pipeline
            pipeline.start()
            self._phase("running")
            try:
                self._watch(pipeline, rooms)
                self._drain(pipeline, rooms, ends=standing.live is None)
            except Exception as error:  # noqa: BLE001 - as with every stage: nothing may go on behind it
                self._end.fail(error)
            self._stop(pipeline, rooms)
            self._end.complete(rooms.writer, shed=self.status().shed)
        if dropped := self.status().already_stored:
            logger.warning(
                "volumes dropped n=%d: an earlier session of run %s had stored them", dropped, started.run_id
            )
        self._tally.set(shortfalls=shortfalls(self.status(), stopped=self._end.by_person))
        return pipeline

    def _open(self, closing: contextlib.ExitStack) -> _Standing:
        """Open the rooms in the order in which they depend on each other; each is closed whatever happens."""
        config, has_live = self._config, self._config.source.kind in SHOW_LIVE
        refuse_unfit(config.store, self.run_id)
        claim = None if has_live else claim_run(config.store, self.run_id, resume=config.resume)  # before any exposure
        if claim is not None:
            closing.callback(self._end.close_store, claim)
        health = Health(config.daemon.status_bind, self.status, self.ready, self._orders())
        self._end.closes(closing, "the status address", health.stop)
        stored = Stored(config.store.directory / self.run_id)
        publisher = Publisher(config.publish, replay_from_store=stored.newest)
        self._end.closes(closing, "publishing", publisher.close)
        health.start()
        source = open_remaining(config, self.run_id)  # the microscope gets ready, and exposes nothing yet
        self._end.closes(closing, "the source", source.close)
        import_zarr()
        self._restorer.start()
        self._end.closes(closing, "inference", lambda: self._restorer.stop(_STOP_S))
        refuse_unknown_channels(config, self._restorer)
        names = channel_networks.names(self._restorer.networks)
        self._tally.set(model=names, provider=self._restorer.network.provider, run_id=self.run_id, more_runs=has_live)
        live = live_show(config, source, self._restorer.workers[0], publisher=publisher, publishing=self._publishing)
        if live is not None:
            self._end.closes(closing, "what is kept of Live", live.recent.close)
        return _Standing(source, publisher, stored, claim, live)

    def _orders(self) -> dict[str, Callable[[Mapping[str, Any]], str]]:
        """Return what may be ordered by POST, by path."""
        return {
            "/swap": self.swap,
            "/rollback": lambda _: orders.rollback(self._restorer),
            "/keep": lambda order: orders.keep(None if self._standing is None else self._standing.live, order),
            "/stage": lambda order: orders.move(None if self._standing is None else self._standing.source, order),
        }

    def _begin(
        self, standing: _Standing, started: RunStarted, closing: contextlib.ExitStack
    ) -> tuple[Rooms, RunStarted]:
        """Open the store for a run, and announce it; also return it under the name that it has now."""
        config, publisher, source, claim = self._config, standing.publisher, standing.source, standing.claim
        refuse_channels_of_recording(config, self._restorer, started)
        if claim is None:
            claim, source, started = claim_begun(config.store, source, started, resume=config.resume)
            closing.callback(self._end.close_store, claim)
            self._tally.begin(started.run_id, missed=started.summary.get(MISSED, ()))
        writer = self._deadlines.within(OPENING, lambda: open_run(config.store, started, claim=claim), _OPEN_S)
        closing.callback(self._end.close_store, writer)
        standing.stored.go_to(writer.reader())
        self._tally.set(set_aside=len(writer.set_aside), incomplete_before=writer.n_incomplete)
        with self._publishing:
            publisher.start(started, *self._restorer.in_use(self._restorer.choose(started.plan.channels)[0]))
        with self._restoring:
            self._make_ready(writer, started)
        logger.info("run started id=%s planes=%d", started.run_id, started.plan.n_planes)
        return Rooms(source, writer, self._restorer, publisher, self._publishing, self._restoring), started

    def _make_ready(self, writer: RunWriter, started: RunStarted) -> None:
        """Give the restorer the plan."""
        self._restorer.resume(last_spans(writer.path))
        for planes in {len(planes) for planes in started.plan.stacks.values()}:
            self._restorer.warm_up((planes, *started.plan.shape_px))

    def _first_event(self, standing: _Standing) -> RunStarted | None:
        """Wait for an acquisition to begin, however long that takes, and show Live meanwhile; None: it was stopped.

        Raises
        ------
        SourceError
            It was stopped before the only run of the source began.
        """
        self._phase("waiting")
        self._beat(standing.publisher)
        source, show = standing.source, standing.live
        with contextlib.nullcontext() if show is None else show.shown():
            found = self._deadlines.within(
                "the source", lambda: self._began(source), math.inf, lambda: self._end.is_overdue
            )
        if found is None and show is None:
            raise SourceError("stopped before an acquisition began")
        return found

    def _began(self, source: Source) -> RunStarted | None:
        while not self._end.drains:
            match source.next_event(0.2):
                case RunStarted() as started:
                    return started
                case RunEnded(reason, detail):
                    raise SourceError(f"the acquisition ended before it began ({reason}): {detail}")
        return None

    def _watch(self, pipeline: Pipeline, rooms: Rooms) -> None:
        """Send viewers the status every second, until the run has ended or its end is ordered."""
        while not self._end.drains and pipeline.busy:
            self._end.wait(_HEARTBEAT_S)
            with self._restoring:
                self._restorer.watch()
            self._beat(rooms.publisher)

    def _beat(self, publisher: Publisher) -> None:
        with self._publishing:
            self._tally.set(publishing=publisher.failure)
            publisher.heartbeat(heartbeat_of(self.status()))

    def _drain(self, pipeline: Pipeline, rooms: Rooms, *, ends: bool) -> None:
        """End the acquisition, and the source unless it has further runs; let every stage finish what it has."""
        if pipeline.busy:
            self._phase("draining")
            logger.info("draining: the acquisition is ended, volumes on their way are finished")
        pipeline.drain()  # first: at the source's end, deferred volumes would begin
        if ends or self._end.drains:
            with Bulkhead("stopping the source", "the run ends without it", self._tally):
                self._deadlines.within("stopping the source", rooms.source.stop, _STOP_S, lambda: self._end.at_once)
        self._end.await_drained(self._config.daemon.drain_s)

    def _stop(self, pipeline: Pipeline, rooms: Rooms) -> None:
        """End the stages; raw volumes that have arrived are written in any case."""
        end_stages(pipeline, rooms, self._deadlines, fail=self._end.fail, at_once=lambda: self._end.at_once)
        self._beat(rooms.publisher)
        with self._publishing:
            rooms.publisher.end(pipeline.ended)

    @property
    def hung(self) -> tuple[str, ...]:
        """What did not end in time; only the end of the process ends it."""
        stages = () if self._pipeline is None else self._pipeline.stages
        return self._deadlines.hung + tuple(stage.name for stage in stages if stage.alive)

    def _phase(self, phase: Phase) -> None:
        self._tally.set(phase=phase)
        tell_service(phase)
