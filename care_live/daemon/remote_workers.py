"""Workers on other machines: Dask places and supervises them, pixels go over the daemon's own link."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from care_live.config import RestoreConfig
from care_live.daemon.dask_scheduler import ANSWER_S, client_of
from care_live.daemon.dask_tasks import PlacedTasks
from care_live.daemon.worker_states import ABSENT
from care_live.errors import ConfigError, RestoreError, StageError, WorkersAwayError
from care_live.imports import need
from care_live.wire.address import at_host, is_wildcard
from care_live.wire.scheduler_address import place_of
from care_live.worker.inference_link import OpenInference
from care_live.worker.remote_port import RemotePort
from care_live.worker.remote_task import work_for

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_SOON_S = 0.2
"""The same before the first task."""
AGAIN_S = 5.0
"""Before what failed is tried again; for a task, longer after each that has ended."""
_LONGEST_AGAIN_S = 60.0
MOST_ENDS = 12
"""Times in a row that tasks end: then no further one is started."""
_STEADY_S = 120.0
"""Where all workers have worked for so long, the next end is the first of a row."""
JOIN_S = 10.0


class RemoteWorkers:
    """Has as many workers started as are wanted, and again wherever one ends; owns one thread, and the port.

    A scheduler that is away costs nothing that runs: it is asked again until it answers.

    Parameters
    ----------
    config : the scheduler, the number of workers, the address of the link
    """

    def __init__(self, config: RestoreConfig) -> None:
        self._config = config
        self._port: RemotePort | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._given_up = False
        self._n_failures_shown = 0
        self.problem = ""
        """Why no worker can be started at present, or any more."""

    def open_for(self, owner: object) -> OpenInference:
        """Return what starts the processes of one worker of the daemon on these machines; they lie on the same one.

        Raises
        ------
        RestoreError
            `start` was not called.
        """
        if self._port is None:
            raise RestoreError("workers on other machines are not started: call start() first")
        return partial(self._port.open, owner=owner)

    def start(self) -> None:
        """Open the port, and let Dask start workers, if any are wanted; waits for nothing.

        Raises
        ------
        ConfigError
            The extra is not installed, or the address is taken.
        """
        if not self._config.remote_workers:
            return
        need("distributed", extra="cluster")
        self._port = RemotePort(self._config.remote_bind)
        self._stop.clear()
        self._thread = threading.Thread(target=self._place, args=(self._port,), name="care-live dask")
        self._thread.start()

    @contextlib.contextmanager
    def blamed(self) -> Iterator[None]:
        """Add to an error within why there are no workers on other machines."""
        try:
            yield
        except RestoreError as error:
            if not self.problem:
                raise
            raise RestoreError(f"{error}; {self.problem}") from error

    def close(self) -> None:
        """Dismiss every worker.

        Raises
        ------
        StageError
            A thread did not end in time.
        """
        self._stop.set()
        try:
            if self._port is not None:
                self._port.close()
        finally:
            if self._thread is not None:
                self._thread.join(JOIN_S)
        if self._thread is not None and self._thread.is_alive():
            raise StageError(f"Dask's client did not end within {JOIN_S:g} s: its tasks may go on for a while")

    def check(self) -> None:
        """Report, once each, that the link has failed, or that no further workers are started.

        Raises
        ------
        WorkersAwayError
            That has happened since the last call.
        """
        n_failures = (0 if self._port is None else self._port.n_failures) + self._given_up
        n_shown, self._n_failures_shown = self._n_failures_shown, n_failures
        if self._port is not None and n_failures > n_shown:
            raise WorkersAwayError(f"{self._what_failed(self._port)}; {self._what_goes_on()}")

    def _what_failed(self, port: RemotePort) -> str:
        if self._given_up:
            return f"no further workers are started on other machines: {self.problem.removeprefix('given up: ')}"
        cut_off = f"; it cut off the workers on {', '.join(port.cut_off)}" if port.cut_off else ""
        return f"the link to workers on other machines failed at {port.address}: {port.failure}{cut_off}"

    def _what_goes_on(self) -> str:
        """Return what the run does now, in words."""
        here = len(self._config.each_worker)
        who = f"the {here} of this machine" if here > 1 else "the one of this machine" if here else ""
        if self._given_up:
            return f"those that are connected go on{f', and {who}' if who else ''}"
        meanwhile = f"{who} restores what they had" if here == 1 else f"{who} restore what they had" if here else ""
        return f"it is begun anew, and they connect again; {meanwhile or 'volumes wait for them, raw is stored'}"

    def explained(self, worker: Mapping[str, Any]) -> dict[str, Any]:
        """Return the status of a worker with the reason why there is no machine for it."""
        absent = self.problem and worker["state"] == ABSENT
        return {**worker, "state": f"{ABSENT}: {self.problem}"} if absent else dict(worker)

    def _place(self, port: RemotePort) -> None:
        """Keep the workers running until the end."""
        while not self._stop.is_set():
            try:
                with client_of(self._config.scheduler) as client:
                    self._keep(client, port)
            except ConfigError as error:  # no certificates
                self._note(str(error))
            except Exception as error:  # noqa: BLE001 - Dask's own; the run goes on with the workers that there are
                self._note(f"no Dask scheduler answers at {self._config.scheduler}: {error}")
            self._stop.wait(AGAIN_S)

    def _keep(self, client: Any, port: RemotePort) -> None:
        """Have tasks running, one for each worker; a task that ends is given again."""
        invitation = port.invitation(_seen_from(client.scheduler.address, port.address))
        tasks = PlacedTasks(client, work_for, invitation)
        n_ended, ended_s = 0, 0.0
        while client.status == "running" and not self._stop.wait(_LOOK_S if tasks or self._given_up else _SOON_S):
            ended = tasks.ended()
            for task in ended:
                why = f": {port.refused}" if port.refused else ""
                self._note(f"a worker's task ended: {_end_of(task)}{why}")
            if ended:
                n_ended, ended_s = n_ended + 1, time.monotonic()
            elif time.monotonic() - ended_s > _STEADY_S and len(port.hosts) >= self._config.remote_workers:
                n_ended = 0
            self._give_up_if_hopeless(port, n_ended)
            if ended and not self._given_up:
                self._stop.wait(min(AGAIN_S * 2 ** (n_ended - 1), _LONGEST_AGAIN_S))
            if len(port.hosts) < self._config.remote_workers and not (self._given_up or self._stop.is_set()):
                tasks.reach(self._config.remote_workers)
            if not ended:
                self._note(self._lacking(port, tasks), quiet=True)

    def _lacking(self, port: RemotePort, tasks: PlacedTasks) -> str:
        """Return why fewer workers than wanted are connected; empty: all are."""
        if len(port.hosts) >= self._config.remote_workers:
            return ""
        return f"at {self._config.scheduler} {tasks.lacks or 'a worker is being started'}"

    def _give_up_if_hopeless(self, port: RemotePort, n_ended: int) -> None:
        """Start no further workers; those that work go on."""
        if port.error is not None:
            self._note(f"given up: their link failed {port.n_failures} times, at last: {port.failure}")
        elif n_ended >= MOST_ENDS:
            self._note(f"given up: workers have ended {n_ended} times in a row; at last {self.problem}")
        else:
            return
        self._given_up = True

    def _note(self, problem: str, *, quiet: bool = False) -> None:
        if self._given_up:  # that stays the reason
            return
        if problem != self.problem and not quiet and not self._stop.is_set():
            logger.warning("remote workers: %s", problem)
        self.problem = problem


def _seen_from(scheduler: str, port: str) -> str:
    """Return the address of the daemon's port for a machine beside the scheduler: the way back from there."""
    if not is_wildcard(port):
        return port
    with socket.create_connection(place_of(scheduler), timeout=ANSWER_S) as way:
        return at_host(port, way.getsockname()[0])


def _end_of(task: Any) -> str:
    if task.status == "finished":
        return f"exit code {task.result()}"
    return f"{task.status}: {task.exception(timeout=ANSWER_S)}" if task.status == "error" else str(task.status)
