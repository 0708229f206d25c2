"""The daemon: start → run → drain → stop, each with a deadline, whatever fails.

First Ctrl-C (or SIGTERM) drains: the acquisition is aborted, volumes on their way are restored and stored.
The second stops: raw volumes that have arrived are still written, nothing else is waited for.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from care_live.config import Config
from care_live.daemon.health import Health
from care_live.daemon.pipeline import Pipeline, Rooms
from care_live.daemon.resume import last_spans, open_remaining
from care_live.daemon.stored import Stored
from care_live.daemon.tally import Phase, Status, Tally
from care_live.errors import ConfigError, SourceError, StageError, StoreError
from care_live.images import RunEnded, RunStarted
from care_live.publish.publisher import Publisher
from care_live.restore.process import RestoreProcess
from care_live.source import Source
from care_live.store import RunWriter, claim_run, import_zarr, open_run, refuse_unfit
from care_live.wire import messages

logger = logging.getLogger(__name__)

_STOP_S = 10.0
"""How long each room may take to close once nothing more is to be done."""
_HEARTBEAT_S = 0.5


class Daemon:
    """One run, from the first frame to the last restored volume.

    Parameters
    ----------
    config : Config
    run_id : str
        Name of the run; one that was interrupted goes on, one that has finished only where ``resume`` is set.
    """

    def __init__(self, config: Config, run_id: str) -> None:
        self._config = config
        self.run_id = run_id
        self._tally = Tally()
        self._asked = threading.Event()  # something happened that the main thread must look at
        self._drain_asked = False
        self._stop_asked = False
        self._failure: BaseException | None = None
        self._pipeline: Pipeline | None = None
        self._restorer = RestoreProcess(config.restore)

    # -- what others may call, from any thread -----------------------------------------------------------------

    def status(self) -> Status:
        """Return the newest figures."""
        if self._pipeline is not None:
            self._pipeline.refresh()
        return self._tally.status()

    def ready(self) -> bool:
        """Whether a volume that arrives now would be restored."""
        return self._restorer.process_id is not None

    @property
    def inference_process_id(self) -> int | None:
        return self._restorer.process_id

    def swap(self, order: Mapping[str, Any]) -> str:
        """Try another network on the next volume and go over to it between two volumes; say what happens.

        Raises
        ------
        CareLiveError
            No file is named, or no such file exists.
        """
        model = Path(str(order.get("model", "")))
        if not model.is_file():
            raise ConfigError(f"there is no model file {model} on the daemon's machine")
        self._restorer.swap(model)
        return f"loading {model}; it takes over once it has restored a volume as well as the running one"

    def rollback(self, order: Mapping[str, Any]) -> str:
        """Go back to the network before the last swap; say so."""
        self._restorer.rollback()
        return f"back to {self._restorer.identity.name}"

    def drain(self) -> None:
        """Abort the acquisition, finish what is on its way; called again: stop at once."""
        self._stop_asked = self._drain_asked
        self._drain_asked = True
        self._asked.set()

    # -- the run -----------------------------------------------------------------------------------------------

    def run(self, on_start: Callable[[RunStarted], None] | None = None) -> Status:
        """Run to the end and return the last status.

        Parameters
        ----------
        on_start : callable
            Told when the acquisition begins.

        Raises
        ------
        CareLiveError
            What ended the run before its time; everything that could be saved is saved.
        """
        with contextlib.ExitStack() as closing:
            rooms, started = self._start(closing)
            if on_start is not None:
                on_start(started)
            pipeline = self._pipeline = Pipeline(self._config, rooms, self._tally, started, on_failure=self._fail)
            pipeline.start()
            self._phase("running")
            try:
                self._watch(pipeline, rooms)
            except Exception as error:  # noqa: BLE001 - as with every stage: nothing may go on behind it
                self._fail(error)
            self._drain(pipeline, rooms)
            self._stop(pipeline, rooms)
        if dropped := self.status().already_stored:
            logger.warning("volumes dropped n=%d: an earlier session of run %s had stored them", dropped, self.run_id)
        self._raise_failure(pipeline)
        self._phase("finished")
        return self.status()

    def _start(self, closing: contextlib.ExitStack) -> tuple[Rooms, RunStarted]:
        """Open the rooms in the order in which they depend on each other; each is closed whatever happens."""
        config = self._config
        refuse_unfit(config.store, self.run_id)
        claim = claim_run(config.store, self.run_id, resume=config.resume)  # refused before anything is exposed
        closing.callback(claim.close)
        orders = {"/swap": self.swap, "/rollback": self.rollback}
        health = Health(config.daemon.status_bind, self.status, self.ready, orders)
        closing.callback(health.stop)
        stored = Stored(config.store.directory / self.run_id)
        publisher = Publisher(config.publish, replay_from_store=stored.newest)
        closing.callback(publisher.close)
        health.start()
        source = open_remaining(config, self.run_id)  # the microscope gets ready, and exposes nothing yet
        closing.callback(source.close)
        import_zarr()
        self._restorer.start()
        closing.callback(self._restorer.stop, _STOP_S)
        self._tally.set(model=self._restorer.identity.name, provider=self._restorer.provider, run_id=self.run_id)
        self._phase("waiting")
        started = self._first_event(source)
        writer = open_run(config.store, started, claim=claim)
        closing.callback(self._close, writer)
        self._make_ready(writer, publisher, started)
        return Rooms(source, writer, self._restorer, publisher), started

    def _make_ready(self, writer: RunWriter, publisher: Publisher, started: RunStarted) -> None:
        """Tell restorer and watchers what comes."""
        identity, card = self._restorer.identity, self._restorer.card
        self._tally.set(set_aside=len(writer.set_aside))
        self._restorer.resume(last_spans(writer.path))
        for planes in {len(planes) for planes in started.plan.stacks.values()}:
            self._restorer.warm_up((planes, *started.plan.shape_px))
        publisher.start(started, identity, card=card.model_dump(mode="json"))
        logger.info("run started id=%s planes=%d model=%s", self.run_id, started.plan.n_planes, identity.name)

    def _close(self, writer: RunWriter) -> None:
        """Close the store; that it cannot be is worth telling only where nothing failed before."""
        try:
            writer.close()
        except StoreError as error:
            self._fail(error)

    def _first_event(self, source: Source) -> RunStarted:
        while not self._drain_asked:
            match source.next_event(0.2):
                case RunStarted() as started:
                    return started
                case RunEnded(reason, detail):
                    raise SourceError(f"the acquisition ended before it began ({reason}): {detail}")
        raise SourceError("stopped before an acquisition began")

    def _watch(self, pipeline: Pipeline, rooms: Rooms) -> None:
        """Tell the watchers how it goes, until the run has ended by itself or somebody asks for the end."""
        while not self._drain_asked and pipeline.busy:
            self._asked.wait(_HEARTBEAT_S)
            self._asked.clear()
            self._restorer.watch()
            self._beat(rooms)

    def _beat(self, rooms: Rooms) -> None:
        try:
            disk = rooms.writer.disk()
        except StoreError as gone:
            self._fail(gone)
        else:
            self._tally.set(disk_free_mib=disk.free_bytes / 2**20, disk_seconds_left=disk.seconds_left)
        rooms.publisher.heartbeat(heartbeat_of(self.status()))

    def _drain(self, pipeline: Pipeline, rooms: Rooms) -> None:
        """End the acquisition and let every stage finish what it has."""
        if pipeline.busy:
            self._phase("draining")
            logger.info("draining: the acquisition is ended, volumes on their way are finished")
        rooms.source.stop()
        pipeline.drain()
        deadline = time.monotonic() + self._config.daemon.drain_s
        while pipeline.busy and not self._stop_asked:
            if time.monotonic() > deadline:
                self._failure = self._failure or StageError(f"not drained within {self._config.daemon.drain_s:g} s")
                break
            self._asked.wait(0.1)
            self._asked.clear()

    def _stop(self, pipeline: Pipeline, rooms: Rooms) -> None:
        """End the stages; raw volumes that wait are still written."""
        pipeline.stop()
        if pipeline.restoring.alive:
            self._restorer.stop(_STOP_S)  # a volume in the network is given up; its raw one is stored
        for stage in (pipeline.intake, pipeline.restoring):
            stage.join(_STOP_S)
        pipeline.close_storage()
        pipeline.storing.join(self._config.daemon.drain_s)
        self._beat(rooms)
        rooms.publisher.end(pipeline.ended)

    def _raise_failure(self, pipeline: Pipeline) -> None:
        if self._failure is not None:
            self._phase("failed")
            raise self._failure
        if pipeline.ended.reason in ("failed", "stalled"):
            self._phase("failed")
            raise SourceError(f"the acquisition {pipeline.ended.reason}: {pipeline.ended.detail}")

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._drain_asked = True
        self._asked.set()

    def _phase(self, phase: Phase) -> None:
        self._tally.set(phase=phase)


def heartbeat_of(status: Status) -> messages.Status:
    """Return what watchers are told of a status."""
    return messages.Status(
        planes_per_s=status.planes_per_s,
        volumes_per_s=status.volumes_per_s,
        queue_depths={"live": status.waiting_volumes, "later": status.waiting_later},
        planes_lost=status.lost_planes,
        planes_dropped=sum(status.dropped_planes.values()),
        volumes_skipped=status.skipped,
        volumes_refused=status.refused_volumes,
        volumes_restored=status.restored,
        disk_s_left=status.disk_seconds_left,
        note=status.detail,
    )


@contextlib.contextmanager
def drained_by_signals(daemon: Daemon) -> Iterator[None]:
    """While inside, Ctrl-C and SIGTERM drain the daemon, and stop it the second time."""

    def ask(signum: int, frame: FrameType | None) -> None:
        logger.warning("signal %s: %s", signal.Signals(signum).name, "draining; again to stop at once")
        daemon.drain()

    kept = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
