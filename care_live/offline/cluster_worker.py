"""One worker of a cluster: reads, restores and writes one time point after the other, with one network that stays open.

What it gets and gives is small and pickled by Dask, whose workers run any code of their scheduler anyway: pixels never
pass through it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from care_live.config import RestoreConfig
from care_live.errors import ConfigError, ModelError, RestoreError, SourceError, VolumeMemoryError
from care_live.freed_memory import keep_freed_memory
from care_live.images import NetworkInUse, VolumeKey
from care_live.offline.channel_engines import networks_of
from care_live.offline.computed_with import ComputedWith
from care_live.offline.handed_out import UnitsDone, do_units
from care_live.offline.judged_results import Results, judged
from care_live.offline.named_networks import NamedNetworks, Networks
from care_live.offline.opened_network import OpenedNetwork
from care_live.offline.range_history import RangeHistory
from care_live.offline.run_output import restored_of
from care_live.offline.settings import what_shapes_the_result
from care_live.offline.time_points import TimePoint, TimePoints
from care_live.recorded import Recording, open_recording
from care_live.store.shared_writer import WrittenVolume, write_raw, write_restored
from care_live.trust.references import KnownError, PositionChannel, References


@dataclass(frozen=True, slots=True)
class AskedNetwork:
    """What restores on every worker; each path is the same on all machines, and leads to the same bytes."""

    model: Path
    sha256: str
    config: RestoreConfig
    camera: str | None
    """Checksum of the camera file; None: the config names no file."""

    def opened(self) -> Networks:
        """Return the network, open.

        Raises
        ------
        ModelError
            The network on this machine is another one, or must not run.
        ConfigError
            The camera file on this machine is another one.
        """
        if what_shapes_the_result(self.config)["camera"] != self.camera:
            raise ConfigError(
                f"the camera file {self.config.camera} on this worker is not the one that the command began with"
            )
        opened = NamedNetworks(self.config) if self.config.channel else OpenedNetwork(self.model, self.config)
        if opened.identity.sha256 != self.sha256:
            raise ModelError(f"{self.model} on this worker is another network than the one that was asked for")
        return opened


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """One time point of one data set; every path is the same on all machines."""

    asked: AskedNetwork
    computed_with: ComputedWith
    source: Path | str
    axes: str | None
    run: Path
    run_id: str
    time_point: TimePoint
    folder: str
    """Of its stage position, below each product."""
    keep_raw: bool
    stored: frozenset[VolumeKey]
    """Raw volumes of this time point that the run has already."""
    known: Mapping[PositionChannel, KnownError] = field(default_factory=dict)
    """What references have shown before this session, or before what the time point waits for."""


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """What is on the disk now, raw volumes first."""

    written: tuple[WrittenVolume, ...]
    networks: tuple[NetworkInUse, ...]
    """With their cards, and what was measured on this worker."""
    error: str = ""
    """Why nothing was restored; another time point may be."""
    known: Mapping[PositionChannel, KnownError] = field(default_factory=dict)
    """What references have shown so far, this time point's own included."""


def restore_time_points(tasks: Sequence[WorkerTask], before: UnitsDone | None = None) -> UnitsDone:
    """Restore time points, in whichever thread the worker runs it: one after the other.

    Parameters
    ----------
    before : of the newest time point before them that has references; None: this session has restored no such one

    Raises
    ------
    ModelError, ConfigError
        See `AskedNetwork.opened`.
    StoreError
        The disk is full or gone.
    """
    with _LOCK:
        return do_units(lambda task: _worker.restore(task, _known(task, before)), tasks)


def _known(task: WorkerTask, before: UnitsDone | None) -> Mapping[PositionChannel, KnownError]:
    if before is None:
        return task.known
    shown: WorkerResult = before.results[-1]
    return shown.known


def choose_for_all(asked: AskedNetwork, dtype: str) -> ComputedWith:
    """Return what runs the network here; all workers then run it so, since another provider gives other last bits.

    Raises
    ------
    ModelError, ConfigError
        See `AskedNetwork.opened`.
    """
    with _LOCK:
        return _worker.network(asked).computed_with(dtype)


class _Worker:
    """Keeps the network and the last data set open."""

    def __init__(self) -> None:
        self._network: Networks | None = None
        self._asked: AskedNetwork | None = None
        self._source: tuple[Path | str, str | None, str] | None = None
        self._open = contextlib.ExitStack()

    def restore(self, task: WorkerTask, known: Mapping[PositionChannel, KnownError]) -> WorkerResult:
        network = self.network(task.asked)
        try:
            recording, time_points, history = self._data_set_of(task)
        except SourceError as error:
            return WorkerResult((), (), str(error), known)
        plan = recording.contents.plan
        references = References(plan)
        references.know(known)
        engine = network.engine(plan.dtype, task.computed_with, channels=plan.channels)
        networks = networks_of(engine)
        history.bring(engine, task.time_point)
        try:
            results = restored_of(time_points, task.time_point, engine)
            results = judged(time_points, task.time_point, results, engine=engine, references=references)
        except (SourceError, RestoreError) as error:
            history.failed(engine, task.time_point)
            return WorkerResult((), networks, str(error), known)
        history.restored(task.time_point)
        try:
            return WorkerResult(tuple(_written(task, results)), networks, known=references.known)
        except VolumeMemoryError as error:
            return WorkerResult((), networks, str(error), references.known)

    def network(self, asked: AskedNetwork) -> Networks:
        """Return the network, opened where it is not open already: what is open stays as its files were."""
        if self._network is None or self._asked != asked:
            keep_freed_memory()
            self._network = self._source = None  # what the last network has learnt of it is not the new one's
            self._network, self._asked = asked.opened(), asked
        return self._network

    def _data_set_of(self, task: WorkerTask) -> tuple[Recording, TimePoints, RangeHistory]:
        if self._source != (task.source, task.axes, task.run_id):
            self._open.close()
            self._source = None
            recording = open_recording(task.source, axes=task.axes, any_numbers=True)
            self._open.callback(recording.close)
            time_points = TimePoints(recording, run_id=task.run_id)
            if self._network is not None:
                plan = recording.contents.plan
                self._network.engine(plan.dtype, task.computed_with, channels=plan.channels).memories = {}
            self._data_set = recording, time_points, RangeHistory(time_points)
            self._source = (task.source, task.axes, task.run_id)
        return self._data_set


def _written(task: WorkerTask, results: Results) -> Iterator[WrittenVolume]:
    for volumes, _ in results:
        for volume in volumes:
            if task.keep_raw and volume.key not in task.stored:
                yield write_raw(task.run, task.folder, volume)
    for _, restored in results:
        for one in restored:
            yield write_restored(task.run, task.folder, one)


_LOCK = threading.Lock()
_worker = _Worker()
